#include "coordinator/text/tokenizer_components.h"

#include <cstdint>
#include <string>

#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

// A component may be a Sequence of components; deeper nesting than this is not a tokenizer.
constexpr int kMaxNesting = 8;

// What ByteLevel splits at unless it is told not to. Source: the GPT-2 encoder.
constexpr std::string_view kByteLevelPattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

[[noreturn]] void refuse(const JsonField& field, const std::string& type) {
  throw Error(ErrorCode::kInvalidArgument,
              field.path() + " has type \"" + type + "\", which is not supported");
}

// Calls `visit(component, type)` for the component itself or for every member of a Sequence.
// `members` is the name of the Sequence's list.
template <typename Visit>
void for_each_component(const JsonField& field,
                        const std::string& members,
                        int depth,
                        Visit visit) {
  if (field.is_null()) return;
  TESSERA_REQUIRE(depth < kMaxNesting, field.path(), " nests deeper than ", kMaxNesting);
  const std::string& type = field.member("type").string();
  if (type != "Sequence") {
    visit(field, type);
    return;
  }
  const JsonField list = field.member(members);
  for (std::size_t i = 0; i < list.array().size(); ++i) {
    for_each_component(list.element(i), members, depth + 1, visit);
  }
}

SplitBehavior read_behavior(const JsonField& field) {
  const std::string& name = field.string();
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  throw Error(ErrorCode::kInvalidArgument,
              field.path() + " is \"" + name +
                  "\", must be Removed, Isolated, MergedWithPrevious, " +
                  "MergedWithNext or Contiguous");
}

Regex read_pattern(const JsonField& field) {
  const JsonField regex = field.member("Regex");
  if (!regex.is_null()) return {regex.string(), regex.path()};
  const JsonField literal = field.member("String");
  return Regex::literal(literal.string(), literal.path());
}

void read_byte_level(const JsonField& field, std::vector<PreTokenizerStep>& steps) {
  if (field.member("add_prefix_space").boolean_or(true)) steps.emplace_back(PrefixSpaceStep{});
  if (field.member("use_regex").boolean_or(true)) {
    steps.emplace_back(SplitStep{Regex(kByteLevelPattern, field.path())});
  }
}

ReplaceStep read_replace(const JsonField& field) {
  return {read_pattern(field.member("pattern")), field.member("content").string()};
}

StripRule read_strip(const JsonField& field) {
  const JsonField content = field.member("content");
  TESSERA_REQUIRE(count_code_points(content.string()) == 1, content.path(), " is \"",
                  content.string(), "\", must be one character");
  const auto limit = [&](const char* name) {
    return static_cast<std::int32_t>(field.member(name).integer(0, INT32_MAX));
  };
  return {content.string(), limit("start"), limit("stop")};
}

void read_template(const JsonField& field, SurroundingTokens& tokens) {
  bool text_seen = false;
  const JsonField single = field.member("single");
  for (std::size_t i = 0; i < single.array().size(); ++i) {
    const JsonField item = single.element(i);
    if (item.object().contains("Sequence")) {
      TESSERA_REQUIRE(!text_seen, item.path(), " names the text a second time");
      text_seen = true;
      continue;
    }
    const std::string& name = item.member("SpecialToken").member("id").string();
    const JsonField ids = field.member("special_tokens").member(name).member("ids");
    for (std::size_t k = 0; k < ids.array().size(); ++k) {
      const std::int64_t id = ids.element(k).integer(0, INT32_MAX);
      (text_seen ? tokens.suffix : tokens.prefix).push_back(static_cast<TokenId>(id));
    }
  }
  TESSERA_REQUIRE(text_seen, single.path(), " does not name the text (Sequence)");
}

}  // namespace

Normalizer read_normalizer(const JsonField& field) {
  std::vector<NormalizerStep> steps;
  for_each_component(field, "normalizers", 0, [&](const JsonField& part, const std::string& type) {
    if (type == "NFC") {
      steps.emplace_back(NfcStep{});
    } else if (type == "Replace") {
      steps.emplace_back(read_replace(part));
    } else if (type == "Prepend") {
      steps.emplace_back(PrependStep{part.member("prepend").string()});
    } else {
      refuse(part, type);
    }
  });
  return Normalizer(std::move(steps));
}

WordSplitting read_pre_tokenizer(const JsonField& field) {
  std::vector<PreTokenizerStep> steps;
  bool byte_level = false;
  for_each_component(
      field, "pretokenizers", 0, [&](const JsonField& part, const std::string& type) {
        TESSERA_REQUIRE(!byte_level, part.path(), " comes after ByteLevel, which must be the last");
        if (type == "Split") {
          steps.emplace_back(SplitStep{read_pattern(part.member("pattern")),
                                       read_behavior(part.member("behavior")),
                                       part.member("invert").boolean_or(false)});
        } else if (type == "Digits") {
          const bool single = part.member("individual_digits").boolean_or(false);
          steps.emplace_back(
              SplitStep{Regex("\\p{N}", part.path()),
                        single ? SplitBehavior::kIsolated : SplitBehavior::kContiguous});
        } else if (type == "ByteLevel") {
          read_byte_level(part, steps);
          byte_level = true;
        } else {
          refuse(part, type);
        }
      });
  return {PreTokenizer(std::move(steps)), byte_level};
}

DecoderRules read_decoder(const JsonField& field) {
  TESSERA_REQUIRE(!field.is_null(), field.path(), " is missing or null, which is not supported");
  DecoderRules rules;
  bool fused = false;
  int count = 0;
  for_each_component(field, "decoders", 0, [&](const JsonField& part, const std::string& type) {
    ++count;
    TESSERA_REQUIRE(!rules.byte_level && (type != "ByteLevel" || count == 1), part.path(),
                    " stands beside another decoder, but ByteLevel must be the only one");
    TESSERA_REQUIRE(!fused || type == "Strip", part.path(), " has type \"", type,
                    "\", only Strip is supported after Fuse");
    auto& token_rules = rules.byte_fallback ? rules.part_rules : rules.token_rules;
    if (type == "ByteLevel") {
      rules.byte_level = true;
    } else if (type == "ByteFallback") {
      TESSERA_REQUIRE(!rules.byte_fallback, part.path(), " is a second ByteFallback");
      rules.byte_fallback = true;
    } else if (type == "Fuse") {
      fused = true;
    } else if (type == "Replace") {
      token_rules.emplace_back(read_replace(part));
    } else if (type == "Strip" && fused) {
      rules.text_rules.push_back(read_strip(part));
    } else if (type == "Strip") {
      token_rules.emplace_back(read_strip(part));
    } else {
      refuse(part, type);
    }
  });
  TESSERA_REQUIRE(count > 0, field.path(), " has no members");
  return rules;
}

SurroundingTokens read_post_processor(const JsonField& field) {
  SurroundingTokens tokens;
  bool template_seen = false;
  for_each_component(field, "processors", 0, [&](const JsonField& part, const std::string& type) {
    if (type == "ByteLevel") return;
    if (type != "TemplateProcessing") refuse(part, type);
    TESSERA_REQUIRE(!template_seen, part.path(), " is a second TemplateProcessing");
    template_seen = true;
    read_template(part, tokens);
  });
  return tokens;
}

}  // namespace tessera

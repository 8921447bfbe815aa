#include "common/model_spec/token_facts.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;

std::optional<ConfigFields> read_if_present(const fs::path& path) {
  if (!fs::exists(path)) return std::nullopt;
  return ConfigFields(path);
}

std::int32_t token_id(const nlohmann::json& value, const std::string& where) {
  TESSERA_REQUIRE(value.is_number_integer() && value.get<std::int64_t>() >= 0 &&
                      value.get<std::int64_t>() < std::numeric_limits<std::int32_t>::max(),
                  where, ": a token id must be a non-negative integer");
  return value.get<std::int32_t>();
}

std::int32_t largest_id(const nlohmann::json& vocab, const std::string& where) {
  std::int32_t largest = -1;
  for (const auto& entry : vocab.items()) {
    largest = std::max(largest, token_id(entry.value(), where));
  }
  return largest;
}

// Of the ids that are keys of added_tokens_decoder.
std::int32_t largest_decoder_id(const fs::path& model_dir) {
  std::int32_t largest = -1;
  const auto fields = read_if_present(model_dir / "tokenizer_config.json");
  if (!fields) return largest;
  for (const auto& entry : fields->raw("added_tokens_decoder").items()) {
    const auto id = nlohmann::json::parse(entry.key(), nullptr, /*allow_exceptions=*/false);
    largest = std::max(largest, token_id(id, fields->file() + ": added_tokens_decoder"));
  }
  return largest;
}

// Of the files that stand in for a tokenizer.json.
std::optional<std::int32_t> vocabulary_size(const fs::path& model_dir) {
  const auto fields = read_if_present(model_dir / "vocab.json");
  if (!fields) return std::nullopt;
  const std::int32_t largest =
      std::max(largest_id(fields->object(), fields->file()), largest_decoder_id(model_dir));
  TESSERA_REQUIRE(largest >= 0, fields->file(), ": holds no token");
  return largest + 1;
}

std::optional<std::string> mask_text(const fs::path& model_dir) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    const auto fields = read_if_present(model_dir / name);
    if (!fields) continue;
    if (auto text = fields->token_text("mask_token")) return text;
  }
  return std::nullopt;
}

std::optional<TokenId> id_in_decoder(const fs::path& model_dir, const std::string& text) {
  const auto fields = read_if_present(model_dir / "tokenizer_config.json");
  if (!fields) return std::nullopt;
  for (const auto& [id, token] : fields->raw("added_tokens_decoder").items()) {
    if (!token.is_object() || token.value("content", nlohmann::json()) != text) continue;
    const auto parsed = nlohmann::json::parse(id, nullptr, /*allow_exceptions=*/false);
    return token_id(parsed, fields->file() + ": added_tokens_decoder");
  }
  return std::nullopt;
}

std::optional<TokenId> id_in_added_tokens(const fs::path& model_dir, const std::string& text) {
  if (const auto fields = read_if_present(model_dir / "added_tokens.json");
      fields && fields->has(text)) {
    return token_id(fields->raw(text), fields->file());
  }
  const auto fields = read_if_present(model_dir / "tokenizer.json");
  if (!fields || !fields->raw("added_tokens").is_array()) return std::nullopt;
  for (const nlohmann::json& token : fields->raw("added_tokens")) {
    if (token.is_object() && token.value("content", nlohmann::json()) == text) {
      return token_id(token.value("id", nlohmann::json()), fields->file() + ": added_tokens");
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::int32_t> read_tokenizer_size(const fs::path& model_dir) {
  const auto fields = read_if_present(model_dir / "tokenizer.json");
  if (!fields) return vocabulary_size(model_dir);
  const nlohmann::json& model = fields->raw("model");
  TESSERA_REQUIRE(model.is_object() && model.contains("vocab") && model["vocab"].is_object(),
                  fields->file(), ": model.vocab is missing");
  std::int32_t largest = largest_id(model["vocab"], fields->file() + ": model.vocab");
  const nlohmann::json& added = fields->raw("added_tokens");
  TESSERA_REQUIRE(added.is_null() || added.is_array(), fields->file(),
                  ": added_tokens must be a list");
  for (const nlohmann::json& token : added) {
    TESSERA_REQUIRE(token.is_object() && token.contains("id"), fields->file(),
                    ": an entry of added_tokens has no id");
    largest = std::max(largest, token_id(token["id"], fields->file() + ": added_tokens"));
  }
  TESSERA_REQUIRE(largest >= 0, fields->file(), ": holds no token");
  return largest + 1;
}

std::optional<TokenId> read_tokenizer_mask_id(const fs::path& model_dir) {
  const auto text = mask_text(model_dir);
  if (!text) return std::nullopt;
  if (auto id = id_in_decoder(model_dir, *text)) return id;
  return id_in_added_tokens(model_dir, *text);
}

std::vector<TokenId> read_eos_ids(const fs::path& model_dir, const ConfigFields& config) {
  std::vector<TokenId> ids = config.ids("eos_token_id");
  if (const auto generation = read_if_present(model_dir / "generation_config.json")) {
    for (const TokenId id : generation->ids("eos_token_id")) ids.push_back(id);
  }
  std::sort(ids.begin(), ids.end());
  ids.erase(std::unique(ids.begin(), ids.end()), ids.end());
  return ids;
}

}  // namespace tessera

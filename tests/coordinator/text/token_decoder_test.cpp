#include "coordinator/text/token_decoder.h"

#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "coordinator/text/tokenizer.h"
#include "tests/coordinator/text/golden_files.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using nlohmann::json;

// "▁" -> " ", byte fallback, one space cut from the front and one from the end.
DecoderRules rules() {
  DecoderRules rules;
  rules.byte_fallback = true;
  rules.token_rules.emplace_back(ReplaceStep{Regex::literal("\u2581", "test"), " "});
  rules.text_rules.push_back({" ", 1, 1});
  return rules;
}

// What each piece makes certain, and at last the end.
std::vector<std::string> parts_of(const DecoderRules& rules,
                                  const std::vector<std::string>& pieces) {
  TokenDecoder decoder(rules);
  std::vector<std::string> parts;
  for (const std::string& piece : pieces) {
    const TokenText text = decode_piece(rules, piece);
    decoder.push(text.bytes, text.is_byte, parts.emplace_back());
  }
  decoder.finish(parts.emplace_back());
  return parts;
}

using Parts = std::vector<std::string>;

TEST(TokenDecoderTest, ARunOfBytesWaitsForItsEnd) {
  EXPECT_EQ(parts_of(rules(), {"a", "<0xE4>", "<0xBD>", "<0xA0>", "b"}),
            (Parts{"a", "", "", "", "\u4f60b", ""}));
}

TEST(TokenDecoderTest, OneWrongByteSpoilsItsRun) {
  EXPECT_EQ(parts_of(rules(), {"<0x41>", "<0xE4>", "a", "<0x42>"}),
            (Parts{"", "", "\uFFFD\uFFFDa", "", "B"}));
}

TEST(TokenDecoderTest, HoldsBackWhatTheEndMayCut) {
  EXPECT_EQ(parts_of(rules(), {"\u2581\u2581a", "\u2581", "b", "\u2581\u2581", "<0x20>"}),
            (Parts{" a", "", " b", " ", "", " "}));
  EXPECT_EQ(parts_of(rules(), {"\u2581"}), (Parts{"", ""}));
  EXPECT_EQ(parts_of(rules(), {"\u2581", "\u2581"}), (Parts{"", "", ""}));
}

TEST(TokenDecoderTest, TheNextTextStartsAnew) {
  const DecoderRules fixed = rules();
  TokenDecoder decoder(fixed);
  for (int i = 0; i < 2; ++i) {
    std::string text;
    decoder.push(" a", /*is_byte=*/false, text);
    decoder.push("\xE4", /*is_byte=*/true, text);
    decoder.finish(text);
    EXPECT_EQ(text, "a\uFFFD");
  }
}

TEST(TokenDecoderTest, KnowsByteTokens) {
  const std::pair<const char*, bool> kPieces[] = {
      {"<0x41>", true},  {"<0xaf>", true},   {"<0x+A>", true},     {"<0x-1>", false},
      {"<0x4G>", false}, {"<0x411>", false}, {"<0x\u00e9>", false}};
  for (const auto& [piece, is_byte] : kPieces) {
    EXPECT_EQ(decode_piece(rules(), piece).is_byte, is_byte) << piece;
  }
}

// Every component that is not supported is named.
TEST(TokenizerComponentsTest, NamesWhatItRefuses) {
  const json good = json::parse(read_file(std::filesystem::path(TESSERA_SOURCE_DIR) /
                                          "tests/golden/text/tokenizers/gemma.json"));
  const json fuse = {{"type", "Fuse"}};
  const auto sequence = [](const json& a, const json& b) {
    return json{{"type", "Sequence"}, {"decoders", {a, b}}};
  };
  const std::pair<json, const char*> kPatches[] = {
      {{{"normalizer", {{"type", "Lowercase"}}}}, "normalizer has type \"Lowercase\""},
      {{{"pre_tokenizer", {{"type", "Metaspace"}}}}, "pre_tokenizer has type \"Metaspace\""},
      {{{"pre_tokenizer", {{"type", "ByteLevel"}}}}, "pre_tokenizer is ByteLevel, but decoder"},
      {{{"decoder", {{"type", "ByteLevel"}}}}, "decoder is ByteLevel, but pre_tokenizer"},
      {{{"decoder", {{"type", "CTC"}}}}, "decoder has type \"CTC\""},
      {{{"decoder", nullptr}}, "decoder is missing or null"},
      {{{"decoder", sequence(fuse, {{"type", "ByteFallback"}})}},
       "decoders[1] has type \"ByteFallback\", only Strip is supported after Fuse"},
      {{{"decoder", sequence(fuse, {{"type", "ByteLevel"}})}}, "decoders[1] stands beside"},
      {{{"decoder", {{"type", "Strip"}, {"content", "ab"}, {"start", 1}, {"stop", 0}}}},
       "decoder.content is \"ab\", must be one character"},
      {{{"model", {{"type", "Unigram"}}}}, "model has type \"Unigram\""},
      {{{"model", {{"dropout", 0.1}}}}, "model.dropout is 0.1"},
      {{{"model", {{"unk_token", "<nothing>"}}}}, "\"<nothing>\" is not in model.vocab"},
  };
  for (const auto& [patch, message] : kPatches) {
    json document = good;
    document.merge_patch(patch);
    try {
      Tokenizer::from_json(document.dump());
      ADD_FAILURE() << "accepted: " << patch;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      EXPECT_NE(std::string(error.what()).find(message), std::string::npos)
          << error.what() << " does not say: " << message;
    }
  }
}

}  // namespace
}  // namespace tessera

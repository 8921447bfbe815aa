#include <gtest/gtest.h>

#include <random>

#include "common/base/error.h"
#include "coordinator/text/byte_alphabet.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "tests/coordinator/text/golden_files.h"
#include "tests/support/json_mutation.h"
#include "tests/support/sanitizers.h"

// A tokenizer.json that lies is refused with a message that names the file, or works.
namespace tessera {
namespace {

using nlohmann::json;
using testing::tiny_sdar_dir;

// The bundled file with the bytes and a few merges alone, so that thousands can be read.
json small_document() {
  json document = json::parse(read_file(tiny_sdar_dir() / "tokenizer.json"));
  json& model = document.at("model");
  json vocab = json::object();
  for (int byte = 0; byte < 256; ++byte) {
    std::string piece;
    append_utf8(piece, char_of_byte(static_cast<unsigned char>(byte)));
    vocab[piece] = byte;
  }
  json merges = json::array();
  for (const char* pair : {"t h", "th e", "a n", "an d"}) {
    std::string merged(pair);
    std::erase(merged, ' ');
    vocab[merged] = vocab.size();
    merges.push_back(pair);
  }
  model["vocab"] = std::move(vocab);
  model["merges"] = std::move(merges);
  for (std::size_t i = 0; i < document.at("added_tokens").size(); ++i) {
    document["added_tokens"][i]["id"] = 260 + i;
  }
  return document;
}

// One over bytes, and one over characters with every component that those have.
std::vector<json> documents() {
  const std::filesystem::path goldens = TESSERA_SOURCE_DIR "/tests/golden/text/tokenizers";
  return {small_document(), json::parse(read_file(goldens / "rules_around_bytes.json"))};
}

// Whether the file was accepted. What it then does must stay within its vocabulary.
bool is_accepted(const std::string& text) {
  std::optional<Tokenizer> tokenizer;
  try {
    tokenizer = Tokenizer::from_json(text, "tokenizer.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
    EXPECT_NE(std::string(error.what()).find("tokenizer.json"), std::string::npos) << error.what();
    return false;
  }
  try {
    const auto ids = tokenizer->encode("the hand <|im_end|> and\n\t \xF0\x9F\x8D\x8E 12 th", {});
    for (const TokenId id : ids) EXPECT_TRUE(tokenizer->contains(id)) << id;
    tokenizer->decode(ids, /*skip_special=*/false);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();  // a regular expression
  }
  return true;
}

void change_files_of(const json& document, std::mt19937& random) {
  ASSERT_TRUE(is_accepted(document.dump()));
  int num_refused = 0;
  constexpr int kFiles = repetitions(1000, 300);
  for (int i = 0; i < kFiles && !::testing::Test::HasFailure(); ++i) {
    json changed = document;
    // Most of the file is the vocabulary: look elsewhere, too.
    static constexpr const char* kParts[] = {"model",         "added_tokens",   "normalizer",
                                             "pre_tokenizer", "post_processor", "decoder"};
    const char* part = kParts[random() % std::size(kParts)];
    for (std::uint32_t n = 1 + random() % 3; n > 0; --n) {
      testing::mutate_json(random() % 3 == 0 ? changed : changed[part], random);
      if (!changed.is_object()) break;
    }
    SCOPED_TRACE(::testing::Message() << "file " << i);
    num_refused += is_accepted(changed.dump()) ? 0 : 1;
  }
  EXPECT_GT(num_refused, kFiles / 4);
  EXPECT_LT(num_refused, kFiles);
}

TEST(TokenizerFuzzTest, ChangedFilesAreRefusedOrWork) {
  std::mt19937 random(31);
  for (const json& document : documents()) change_files_of(document, random);
}

TEST(TokenizerFuzzTest, DamagedFilesAreRefusedOrWork) {
  std::mt19937 random(32);
  for (const json& document : documents()) {
    const std::string text = document.dump();
    for (int i = 0; i < repetitions(1500, 400) && !::testing::Test::HasFailure(); ++i) {
      std::string damaged = text;
      testing::damage_text(damaged, random);
      SCOPED_TRACE(::testing::Message() << "file " << i);
      is_accepted(damaged);
    }
  }
}

}  // namespace
}  // namespace tessera

#include "coordinator/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>
#include <vector>

#include "coordinator/text/incremental_detokenizer.h"
#include "coordinator/text/vocabulary_files.h"
#include "tests/coordinator/text/golden_files.h"
#include "tests/support/error_matchers.h"
#include "tests/support/sanitizers.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;
using testing::golden_lines;
using testing::tiny_sdar_dir;

const Tokenizer& tiny_sdar() {
  static const Tokenizer tokenizer = Tokenizer::load(tiny_sdar_dir() / "tokenizer.json");
  return tokenizer;
}

// The ids that `line` records for its text, with and without parsing special tokens.
void expect_encodes(const Tokenizer& tokenizer, const ordered_json& line) {
  const auto text = line.at("text").get<std::string>();
  const auto ids = line.at("ids").get<std::vector<TokenId>>();
  EXPECT_EQ(tokenizer.encode(text), ids) << line.at("text");
  const auto plain = line.value("plain", ids);
  EXPECT_EQ(tokenizer.encode(text, {.parse_special = false}), plain) << line.at("text");
}

TEST(TokenizerTest, EncodesAsTheTokenizersLibraryDoes) {
  const auto lines = golden_lines("tiny_sdar_encode.jsonl");
  ASSERT_GE(lines.size(), 3000);
  for (const ordered_json& line : lines) expect_encodes(tiny_sdar(), line);
}

TEST(TokenizerTest, DecodesAsTheTokenizersLibraryDoes) {
  const auto lines = golden_lines("tiny_sdar_decode.jsonl");
  ASSERT_GE(lines.size(), 400);
  for (const ordered_json& line : lines) {
    const auto ids = line.at("ids").get<std::vector<TokenId>>();
    EXPECT_EQ(tiny_sdar().decode(ids, /*skip_special=*/false), line.at("all"));
    EXPECT_EQ(tiny_sdar().decode(ids, /*skip_special=*/true), line.at("skip"));
  }
}

TEST(TokenizerTest, EncodesAsTheTokenizersLibraryDoesForVariantsOfTheFile) {
  const auto document = ordered_json::parse(read_file(tiny_sdar_dir() / "tokenizer.json"));
  const auto variants = golden_lines("variants.jsonl");
  ASSERT_GE(variants.size(), 20);
  for (const ordered_json& variant : variants) {
    SCOPED_TRACE(variant.at("name"));
    ordered_json patched = document;
    patched.merge_patch(variant.at("patch"));
    const Tokenizer tokenizer = Tokenizer::from_json(patched.dump());
    for (const ordered_json& line : variant.at("cases")) {
      const auto text = line.at("text").get<std::string>();
      const auto ids = line.at("ids").get<std::vector<TokenId>>();
      EXPECT_EQ(tokenizer.encode(text), ids) << line;
      EXPECT_EQ(tokenizer.encode(text, {.add_special = true}), line.value("special", ids)) << line;
    }
  }
}

TEST(TokenizerTest, EncodesAsTheTokenizersLibraryDoesForTheOtherModels) {
  const char* models_dir = std::getenv("TESSERA_MODELS_DIR");
  if (models_dir == nullptr) GTEST_SKIP() << "TESSERA_MODELS_DIR is not set";
  const auto lines = golden_lines("other_models_encode.jsonl");
  ASSERT_GE(lines.size(), 7 * 30);
  std::string loaded;
  std::optional<Tokenizer> tokenizer;
  for (const ordered_json& line : lines) {
    const auto model = line.at("model").get<std::string>();
    if (model != loaded) {
      tokenizer = Tokenizer::load(std::filesystem::path(models_dir) / model / "tokenizer.json");
      loaded = model;
    }
    SCOPED_TRACE(model);
    expect_encodes(*tokenizer, line);
  }
}

// A copy of the bundled model's folder without its tokenizer.json.
class VocabularyFilesTest : public ::testing::Test {
 protected:
  VocabularyFilesTest()
      : directory_(std::filesystem::path(::testing::TempDir()) /
                   ::testing::UnitTest::GetInstance()->current_test_info()->name()) {
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
    for (const char* name : {"vocab.json", "merges.txt", "tokenizer_config.json"}) {
      std::filesystem::copy_file(tiny_sdar_dir() / name, directory_ / name);
    }
  }
  ~VocabularyFilesTest() override { std::filesystem::remove_all(directory_); }

  std::filesystem::path directory_;
};

TEST_F(VocabularyFilesTest, AreAsGoodAsATokenizerJson) {
  const Tokenizer tokenizer = load_tokenizer(directory_);
  for (const ordered_json& line : golden_lines("tiny_sdar_encode.jsonl")) {
    expect_encodes(tokenizer, line);
  }
  EXPECT_EQ(tokenizer.vocab_size(), tiny_sdar().vocab_size());
  EXPECT_THAT(tokenizer.special_ids(), ::testing::ElementsAreArray(tiny_sdar().special_ids()));
}

TEST_F(VocabularyFilesTest, AnUnknownTokenizerClassIsNamed) {
  std::ofstream(directory_ / "tokenizer_config.json") << R"({"tokenizer_class": "LlamaTokenizer"})";
  try {
    load_tokenizer(directory_);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), ::testing::HasSubstr("tokenizer_class is \"LlamaTokenizer\""));
  }
}

TEST(TokenizerTest, ValidTextSurvivesTheRoundTrip) {
  for (const ordered_json& line : golden_lines("tiny_sdar_encode.jsonl")) {
    const auto text = line.at("text").get<std::string>();
    const auto ids = tiny_sdar().encode(text);
    // The text comes back in normalisation form C, which is stable.
    const std::string once = tiny_sdar().decode(ids, /*skip_special=*/false);
    EXPECT_EQ(tiny_sdar().decode(tiny_sdar().encode(once), /*skip_special=*/false), once);
  }
}

TEST(TokenizerTest, NamesItsTokens) {
  const Tokenizer& tokenizer = tiny_sdar();
  EXPECT_EQ(tokenizer.vocab_size(), 2020);
  EXPECT_EQ(tokenizer.token_to_id("<|im_end|>"), 2016);
  EXPECT_EQ(tokenizer.token_to_id("no such token"), std::nullopt);
  EXPECT_EQ(tokenizer.id_to_piece(2019), "<|MASK|>");
  EXPECT_EQ(tokenizer.id_to_piece(220), "\u0120");
  EXPECT_THAT(tokenizer.special_ids(), ::testing::ElementsAre(2014, 2015, 2016, 2019));
  EXPECT_TRUE(tokenizer.is_special(2014));
  EXPECT_FALSE(tokenizer.is_special(2017)) << "<think> is added, but not special";
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_FALSE(tokenizer.contains(2020));
  EXPECT_FALSE(tokenizer.contains(-1));
  EXPECT_ERROR(tokenizer.id_to_piece(2020), kInvalidArgument);
}

TEST(TokenizerTest, RefusesTextThatIsNotUtf8) {
  for (const std::string text :
       {"a\xFF", "\xC0\x80", "\xED\xA0\x80", "\xE4\xBD", "\xF4\x90\x80\x80"}) {
    EXPECT_ERROR(tiny_sdar().encode(text), kInvalidArgument);
  }
}

TEST(TokenizerTest, ManyThreadsGetTheSameTokens) {
  const auto lines = golden_lines("tiny_sdar_encode.jsonl");
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = t; i < 800; i += 2) expect_encodes(tiny_sdar(), lines[i]);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A megabyte that the pre-tokenizer leaves in one word, or that makes a regex backtrack.
TEST(TokenizerTest, HostileTextCostsLittleMoreThanItsLength) {
  constexpr std::size_t kBytes = repetitions<std::size_t>(1 << 20, 1 << 17);
  const std::filesystem::path goldens = TESSERA_SOURCE_DIR "/tests/golden/text/tokenizers";
  const Tokenizer tokenizers[] = {tiny_sdar(), Tokenizer::load(goldens / "gemma.json"),
                                  Tokenizer::load(goldens / "some_bytes.json")};
  for (const Tokenizer& tokenizer : tokenizers) {
    for (const std::string unit :
         {"a", " ", "=", "\n", " \n", "ab", "<|im_end|", "\u4f60", "\u0301", "\u2581", "\u0414"}) {
      std::string text;
      while (text.size() < kBytes) text += unit;
      const auto ids = tokenizer.encode(text + "x");
      EXPECT_FALSE(ids.empty());
      IncrementalDetokenizer detokenizer(tokenizer);
      EXPECT_EQ(detokenizer.push(ids) + detokenizer.finish(), tokenizer.decode(ids));
    }
  }
}

}  // namespace
}  // namespace tessera

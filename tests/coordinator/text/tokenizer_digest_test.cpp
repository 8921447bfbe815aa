#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <map>
#include <span>

#include "coordinator/text/incremental_detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"
#include "tests/coordinator/text/golden_files.h"
#include "tests/coordinator/text/string_generator.h"
#include "tests/support/sanitizers.h"

// What the `tokenizers` library makes of 20,000 strings per tokenizer, as one digest per 100 of
// them. `python3 tests/oracle/text_make_digests.py --show FILE BLOCK` prints what is in a digest.
namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::StringGenerator;

constexpr std::uint64_t kBlock = 100;
constexpr std::uint64_t kEnd = 0xFFFFFFFF;

class Digest {
 public:
  void add(std::uint64_t value) {
    state_ = (state_ ^ value) * 0x9E3779B97F4A7C15U;
    state_ ^= state_ >> 32;
  }

  void add(std::string_view text) {
    for (std::size_t i = 0; i < text.size();) add(std::uint64_t{next_code_point(text, i)});
    add(kEnd);
  }

  void add(std::span<const TokenId> ids) {
    for (const TokenId id : ids) add(static_cast<std::uint64_t>(id));
    add(kEnd);
  }

  std::string hex() const {
    std::array<char, 17> text{};
    std::snprintf(text.data(), text.size(), "%016llx", static_cast<unsigned long long>(state_));
    return text.data();
  }

 private:
  std::uint64_t state_ = 0;
};

fs::path golden_dir() {
  return fs::path(TESSERA_SOURCE_DIR) / "tests/golden/text";
}

// The text, taken a few tokens at a time.
std::string streamed(const Tokenizer& tokenizer, std::span<const TokenId> ids, bool skip_special) {
  IncrementalDetokenizer detokenizer(tokenizer, skip_special);
  std::string text;
  for (std::size_t begin = 0, size = 1; begin < ids.size(); begin += size, size = size % 3 + 1) {
    const std::string part =
        detokenizer.push(ids.subspan(begin, std::min(size, ids.size() - begin)));
    EXPECT_FALSE(find_invalid_utf8(part));
    text += part;
  }
  return text + detokenizer.finish();
}

void add_case(const Tokenizer& tokenizer,
              const StringGenerator& generator,
              std::uint64_t index,
              Digest& digest) {
  const std::string text = generator.text(index);
  const auto ids = tokenizer.encode(text);
  const auto plain = tokenizer.encode(text, {.parse_special = false});
  const auto drawn = StringGenerator::ids(index, tokenizer.vocab_size());
  digest.add(text);
  digest.add(ids);
  digest.add(plain);
  for (const auto& list : {ids, drawn}) {
    for (const bool skip_special : {false, true}) {
      const std::string decoded = tokenizer.decode(list, skip_special);
      EXPECT_EQ(streamed(tokenizer, list, skip_special), decoded) << "string " << index;
      digest.add(decoded);
    }
  }
}

void expect_digests(const fs::path& path, const json& digests) {
  const std::string content = read_file(path);
  const Tokenizer tokenizer = Tokenizer::from_json(content, path.string());
  std::vector<std::string> specials;
  const json document = json::parse(content);
  for (const json& token : document.at("added_tokens")) specials.push_back(token.at("content"));
  const StringGenerator generator(json::parse(read_file(golden_dir() / "string_pools.json")),
                                  specials);
  ASSERT_EQ(digests.size(), 200);
  constexpr std::uint64_t kStride = 200 / repetitions(200, 25);  // A sanitizer build takes some.
  for (std::uint64_t block = 0; block < digests.size(); block += kStride) {
    Digest digest;
    for (std::uint64_t i = 0; i < kBlock; ++i)
      add_case(tokenizer, generator, block * kBlock + i, digest);
    EXPECT_EQ(digest.hex(), digests[block]) << path << ", block " << block;
    if (::testing::Test::HasFailure()) return;
  }
}

// Rows of digests.jsonl by the name of the tokenizer.
const std::map<std::string, json>& rows() {
  static const auto kRows = [] {
    std::map<std::string, json> rows;
    std::ifstream file(golden_dir() / "digests.jsonl");
    for (std::string line; std::getline(file, line);) {
      json row = json::parse(line);
      const std::string name = row.at(row.contains("file") ? "file" : "model");
      rows.emplace(name, std::move(row));
    }
    return rows;
  }();
  return kRows;
}

std::vector<std::string> names() {
  std::vector<std::string> names;
  for (const auto& [name, row] : rows()) names.push_back(name);
  return names;
}

class TokenizerDigestTest : public ::testing::TestWithParam<std::string> {};

TEST_P(TokenizerDigestTest, AgreesWithTheTokenizersLibrary) {
  const std::string& name = GetParam();
  const json& row = rows().at(name);
  fs::path path = golden_dir() / "tokenizers" / (name + ".json");
  if (row.contains("model")) {
    fs::path models = fs::path(TESSERA_SOURCE_DIR) / "deploy/models";
    const char* models_dir = std::getenv("TESSERA_MODELS_DIR");
    if (!fs::exists(models / name) && models_dir != nullptr) models = models_dir;
    path = models / name / "tokenizer.json";
    if (!fs::exists(path)) GTEST_SKIP() << "TESSERA_MODELS_DIR has no " << name;
  }
  expect_digests(path, row.at("digests"));
}

INSTANTIATE_TEST_SUITE_P(All, TokenizerDigestTest, ::testing::ValuesIn(names()), [](const auto& i) {
  std::string name = i.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

}  // namespace
}  // namespace tessera

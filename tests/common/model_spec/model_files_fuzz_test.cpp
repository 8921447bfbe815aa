#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "common/base/error.h"
#include "common/model_spec/model_spec.h"
#include "tests/support/json_mutation.h"

// A config.json or tokenizer file that lies is refused with a message that names the file, or read.
namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

class ModelFilesFuzzTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    dir_ = fs::path(::testing::TempDir()) / (std::string("model_files_") + test->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
    for (const char* name : {"config.json", "tokenizer_config.json"}) {
      files_[name] = read(fs::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar" / name);
    }
    // What of tokenizer.json is read for a model's facts.
    files_["tokenizer.json"] = {
        {"model", {{"vocab", {{"a", 0}, {"b", 1}}}}},
        {"added_tokens", {{{"id", 2}, {"content", "<|MASK|>"}, {"special", true}}}}};
    files_["generation_config.json"] = {{"eos_token_id", {1, 2}}, {"temperature", 0.5}};
    for (const auto& [name, document] : files_) write(name, document.dump());
  }
  void TearDown() override { fs::remove_all(dir_); }

  static json read(const fs::path& file) {
    std::ifstream in(file);
    return json::parse(in);
  }

  void write(const std::string& name, const std::string& text) const {
    std::ofstream(dir_ / name) << text;
  }

  // Whether the folder is accepted with `text` in place of the file.
  bool is_accepted(const std::string& name, const std::string& text) const {
    write(name, text);
    bool accepted = true;
    try {
      const ModelSpec spec = read_model_spec(dir_);
      EXPECT_LE(spec.tokenizer_size, spec.vocab_size);
      EXPECT_TRUE(!spec.mask_id || (*spec.mask_id >= 0 && *spec.mask_id < spec.vocab_size));
      for (const TokenId id : spec.eos_ids) EXPECT_TRUE(id >= 0 && id < spec.vocab_size);
      EXPECT_GT(spec.hidden_size, 0);
      EXPECT_GT(spec.num_layers, 0);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument) << error.what();
      EXPECT_NE(std::string(error.what()).find(".json"), std::string::npos) << error.what();
      accepted = false;
    }
    write(name, files_.at(name).dump());
    return accepted;
  }

  fs::path dir_;
  std::map<std::string, json> files_;
};

TEST_F(ModelFilesFuzzTest, ChangedFilesAreRefusedOrRead) {
  std::mt19937 random(41);
  int num_refused = 0;
  constexpr int kFiles = 400;
  for (int i = 0; i < kFiles && !HasFailure(); ++i) {
    auto file = files_.begin();
    std::advance(file, random() % files_.size());
    json changed = file->second;
    for (std::uint32_t n = 1 + random() % 2; n > 0; --n) testing::mutate_json(changed, random);
    SCOPED_TRACE(file->first + ": " + changed.dump());
    num_refused += is_accepted(file->first, changed.dump()) ? 0 : 1;
  }
  EXPECT_GT(num_refused, kFiles / 10);
  EXPECT_LT(num_refused, kFiles);
}

TEST_F(ModelFilesFuzzTest, DamagedFilesAreRefusedOrRead) {
  std::mt19937 random(42);
  for (int i = 0; i < 300 && !HasFailure(); ++i) {
    auto file = files_.begin();
    std::advance(file, random() % files_.size());
    std::string text = file->second.dump();
    testing::damage_text(text, random);
    SCOPED_TRACE(file->first + ": " + text);
    is_accepted(file->first, text);
  }
}

}  // namespace
}  // namespace tessera

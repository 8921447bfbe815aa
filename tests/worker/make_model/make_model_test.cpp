#include "worker/make_model/make_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/model_spec/model_spec.h"
#include "coordinator/text/tokenizer.h"
#include "tests/worker/weights/test_checkpoint.h"
#include "worker/model/tensor_names.h"
#include "worker/weights/dummy_source.h"
#include "worker/weights/safetensors_source.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

const fs::path kBundled = fs::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar";

constexpr ModelShape kSmall{"sdar", 96, 2, 6, 2, 32, 80, 3000};

class MakeModelTest : public ::testing::Test {
 protected:
  MakeModelTest() {
    options_.output_dir = directory_.path() / "made";
    options_.shape = kSmall;
    options_.tokenizer_dir = kBundled;
    options_.pad_vocabulary = true;
    options_.seed = 11;
    events_.on_start = [this](const ModelSummary& summary) { summary_ = summary; };
    events_.on_progress = [](auto, auto) {};
  }

  void make() { make_model(options_, events_); }
  std::string refusal() {
    return refusal_of([&] { make(); });
  }
  bool is_partial_left() const { return fs::exists(options_.output_dir.string() + ".partial"); }

  TemporaryDirectory directory_;
  MakeModelOptions options_;
  MakeModelEvents events_;
  ModelSummary summary_;
};

std::vector<float> whole(TensorSource& source, const TensorDeclaration& tensor) {
  const IndexRange rows{0, tensor.shape[0]};
  if (tensor.shape.size() == 1) return source.read_vector(tensor.name, rows);
  const IndexRange cols{0, tensor.shape[1]};
  std::vector<float> values(static_cast<std::size_t>(rows.size() * cols.size()));
  source.read_matrix(tensor.name, rows, cols,
                     {values.data(), DType::kFloat32, rows.size(), cols.size(), cols.size()});
  return values;
}

TEST_F(MakeModelTest, EveryTensorIsThatOfTheGeneratorWithTheSameSeed) {
  for (const DType dtype : {DType::kBFloat16, DType::kFloat32}) {
    options_.dtype = dtype;
    options_.max_shard_bytes = 200'000;
    options_.replace = true;
    make();
    const ModelSpec spec = read_model_spec(options_.output_dir);
    EXPECT_EQ(spec.family, "sdar");
    EXPECT_EQ(spec.num_layers, 2);
    EXPECT_EQ(spec.tie_word_embeddings, false);
    const std::vector<TensorDeclaration> declarations = declare_tensors(spec);
    SafetensorsSource written(options_.output_dir, declarations);
    DummySource generated(declarations, options_.seed);
    for (const TensorDeclaration& tensor : declarations) {
      EXPECT_TRUE(whole(written, tensor) == whole(generated, tensor)) << tensor.name;
    }
    EXPECT_EQ(summary_.num_bytes, summary_.num_parameters * size_of(dtype));
    EXPECT_FALSE(is_partial_left());
  }
}

TEST_F(MakeModelTest, TheVocabularyIsPaddedAndTheTokenIdsAreTheTokenizers) {
  make();
  const ModelSpec spec = read_model_spec(options_.output_dir);
  EXPECT_EQ(spec.tokenizer_size, 3000) << "every id may be chosen";
  EXPECT_EQ(spec.mask_id, 2019);
  EXPECT_EQ(spec.eos_ids, (std::vector<TokenId>{2014, 2016}));
  EXPECT_EQ(spec.block_size, 32);
  const auto bundled = Tokenizer::load(kBundled / "tokenizer.json");
  const auto padded = Tokenizer::load(options_.output_dir / "tokenizer.json");
  const std::string text = "Tom has 3 apples <|im_end|> and buys 4 more.";
  EXPECT_EQ(padded.encode(text), bundled.encode(text));
  EXPECT_EQ(padded.decode(std::vector<TokenId>{2999}), "<|extra_2999|>");
}

TEST_F(MakeModelTest, AConfigFileIsTakenAsItIs) {
  options_.config_file = kBundled / "config.json";
  options_.pad_vocabulary = false;
  make();
  std::ifstream want(options_.config_file);
  std::ifstream got(options_.output_dir / "config.json");
  EXPECT_EQ(nlohmann::json::parse(got), nlohmann::json::parse(want));
  EXPECT_EQ(read_model_spec(options_.output_dir).tokenizer_size, 2020);
}

TEST_F(MakeModelTest, EveryPresetAndFamilyIsAModelThatCanBeRead) {
  for (const auto& [name, shape] : model_presets()) {
    options_.shape = shape;
    options_.shape.num_layers = 1;
    options_.shape.vocab_size = 2048;
    options_.shape.hidden_size = 64;
    options_.shape.intermediate_size = 16;
    options_.replace = true;
    make();
    EXPECT_EQ(read_model_spec(options_.output_dir).family, shape.family) << name;
  }
  options_.shape.family = "llada";
  EXPECT_THAT(refusal(), HasSubstr("--config"));
}

TEST_F(MakeModelTest, AnExistingDirectoryIsReplacedOnlyOnDemandAndOnlyIfItIsAModel) {
  make();
  EXPECT_THAT(refusal(), HasSubstr("--force replaces it"));
  options_.replace = true;
  options_.shape.num_layers = 1;
  make();
  EXPECT_EQ(read_model_spec(options_.output_dir).num_layers, 1);
  fs::remove(options_.output_dir / "config.json");
  EXPECT_THAT(refusal(), HasSubstr("is no model directory"));
  EXPECT_TRUE(fs::exists(options_.output_dir / "model.safetensors"));
}

TEST_F(MakeModelTest, WhatCannotBeServedIsRefusedBeforeAnythingIsWrittenOrRemoved) {
  make();
  options_.replace = true;
  options_.shape.num_kv_heads = 4;
  EXPECT_THAT(refusal(), HasSubstr("not a multiple of 4 key/value heads"));
  options_.shape = kSmall;
  options_.shape.vocab_size = 2019;
  EXPECT_THAT(refusal(), HasSubstr("vocab_size"));
  options_.shape = kSmall;
  options_.config_file = "/nowhere/config.json";
  EXPECT_THAT(refusal(), HasSubstr("/nowhere/config.json"));
  EXPECT_FALSE(is_partial_left());
  EXPECT_EQ(read_model_spec(options_.output_dir).attention_of(0).num_kv_heads, 2)
      << "the old model is still there";
}

TEST_F(MakeModelTest, AModelLargerThanTheDiskIsRefused) {
  options_.shape.hidden_size = 1 << 20;
  options_.shape.intermediate_size = 1 << 20;
  options_.shape.num_layers = 1000;
  EXPECT_THAT(refusal(), HasSubstr("the disk has room"));
  EXPECT_FALSE(is_partial_left());
}

TEST(BundledModelTest, LoadsStrictly) {
  const std::vector<TensorDeclaration> declarations = declare_tensors(read_model_spec(kBundled));
  SafetensorsSource source(kBundled, declarations);
  for (const TensorDeclaration& tensor : declarations) {
    EXPECT_EQ(source.stored_dtype(tensor.name), DType::kBFloat16);
    const std::vector<float> values = whole(source, tensor);
    double largest = 0.0;
    for (const float value : values) largest = std::max(largest, std::abs(double{value}));
    EXPECT_GT(largest, 0.0) << tensor.name;
    EXPECT_LT(largest, 50.0) << tensor.name;
  }
}

}  // namespace
}  // namespace tessera

#include "common/model_spec/model_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "common/model_spec/memory_plan.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ModelSpecTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::path(::testing::TempDir()) /
           ("model_spec_" +
            std::string(::testing::UnitTest::GetInstance()->current_test_info()->name()));
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  static json sdar() {
    return {{"architectures", {"SDARForCausalLM"}},
            {"hidden_size", 2560},
            {"num_hidden_layers", 36},
            {"num_attention_heads", 32},
            {"num_key_value_heads", 8},
            {"head_dim", 128},
            {"intermediate_size", 9728},
            {"vocab_size", 151936},
            {"rope_theta", 1000000.0},
            {"rope_scaling", nullptr},
            {"rms_norm_eps", 1e-6},
            {"hidden_act", "silu"},
            {"attention_bias", false},
            {"max_position_embeddings", 32768},
            {"use_sliding_window", false},
            {"eos_token_id", 151643},
            {"block_size", 4},
            {"mask_token_id", 151669}};
  }

  void write(const std::string& name, const json& value) const {
    std::ofstream(dir_ / name) << value.dump();
  }

  ModelSpec read(const json& config) const {
    write("config.json", config);
    return read_model_spec(dir_);
  }

  std::string error_of(const json& config) const {
    try {
      read(config);
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      return error.what();
    }
    return "no error";
  }

  fs::path dir_;
};

TEST_F(ModelSpecTest, ReadsAPublishedSdarConfiguration) {
  const ModelSpec spec = read(sdar());
  EXPECT_EQ(spec.family, "sdar");
  EXPECT_EQ(spec.hidden_size, 2560);
  EXPECT_EQ(spec.num_layers, 36);
  ASSERT_EQ(spec.attention_kinds.size(), 1U);
  EXPECT_EQ(spec.q_size(spec.attention_of(35)), 4096);
  EXPECT_EQ(spec.attention_of(35).kv_size(), 1024);
  EXPECT_EQ(spec.attention_of(35).rope, (RopeSpec{1e6, 128}));
  EXPECT_TRUE(spec.qk_norm);
  EXPECT_FALSE(spec.qkv_bias);
  EXPECT_FALSE(spec.tie_word_embeddings);
  EXPECT_FALSE(spec.shifted);
  EXPECT_EQ(spec.mask_id, 151669);
  EXPECT_EQ(spec.block_size, 4);
  EXPECT_EQ(spec.tokenizer_size, 151936);
  EXPECT_THAT(spec.eos_ids, ElementsAre(151643));
}

TEST_F(ModelSpecTest, ReadsAPublishedMixtureWithASoftmaxRouter) {
  json config = sdar();
  config["architectures"] = {"SDARMoeForCausalLM"};
  config["num_experts"] = 128;
  config["num_experts_per_tok"] = 8;
  config["moe_intermediate_size"] = 768;
  config["norm_topk_prob"] = true;
  config["mlp_only_layers"] = {1};
  config["decoder_sparse_step"] = 2;
  const ModelSpec spec = read(config);
  EXPECT_EQ(spec.moe.router, RouterKind::kSoftmax);
  EXPECT_EQ(spec.moe.num_experts, 128);
  EXPECT_EQ(spec.moe.experts_per_token, 8);
  EXPECT_EQ(spec.moe.intermediate_size, 768);
  EXPECT_FALSE(spec.moe.is_moe(0));  // not every second one
  EXPECT_FALSE(spec.moe.is_moe(1));  // named
  EXPECT_FALSE(spec.moe.is_moe(2));
  EXPECT_TRUE(spec.moe.is_moe(3));
  config["num_experts_per_tok"] = 129;
  EXPECT_THAT(error_of(config), HasSubstr("num_experts_per_tok"));
}

json llada2_mini() {
  return {{"architectures", {"LLaDA2MoeModelLM"}},
          {"hidden_size", 2048},
          {"num_hidden_layers", 20},
          {"num_attention_heads", 16},
          {"num_key_value_heads", 4},
          {"head_dim", 128},
          {"partial_rotary_factor", 0.5},
          {"rotary_dim", 64},
          {"intermediate_size", 5120},
          {"moe_intermediate_size", 512},
          {"num_experts", 256},
          {"num_experts_per_tok", 8},
          {"num_shared_experts", 1},
          {"n_group", 8},
          {"topk_group", 4},
          {"first_k_dense_replace", 1},
          {"routed_scaling_factor", 2.5},
          {"score_function", "sigmoid"},
          {"use_qk_norm", true},
          {"sliding_window", 4096},
          {"vocab_size", 157184},
          {"rope_theta", 600000.0},
          {"max_position_embeddings", 32768}};
}

TEST_F(ModelSpecTest, ReadsAPublishedMixtureWithGroupsAndSharedExperts) {
  const ModelSpec spec = read(llada2_mini());
  EXPECT_EQ(spec.family, "llada2");
  EXPECT_EQ(spec.layout, TensorLayout::kLlada2);
  EXPECT_EQ(spec.attention_of(0).rope, (RopeSpec{6e5, 64}));
  EXPECT_TRUE(spec.qk_norm);
  EXPECT_EQ(spec.moe.router, RouterKind::kGroupedSigmoid);
  EXPECT_EQ(spec.moe.num_groups, 8);
  EXPECT_EQ(spec.moe.groups_per_token, 4);
  EXPECT_EQ(spec.moe.scale, 2.5);
  EXPECT_EQ(spec.moe.shared_intermediate_size, 512);
  EXPECT_FALSE(spec.moe.is_moe(0));
  EXPECT_TRUE(spec.moe.is_moe(1));
  EXPECT_EQ(spec.mask_id, 156895);
}

TEST_F(ModelSpecTest, ContradictoryMixturesAreRefusedByField) {
  const auto error_with = [&](const char* field, const json& value) {
    json config = llada2_mini();
    config[field] = value;
    return error_of(config);
  };
  EXPECT_THAT(error_with("n_group", 7), HasSubstr("n_group"));
  EXPECT_THAT(error_with("topk_group", 9), HasSubstr("topk_group"));
  EXPECT_THAT(error_with("num_experts_per_tok", 129), HasSubstr("topk_group"));
  EXPECT_THAT(error_with("rotary_dim", 32), HasSubstr("rotary_dim"));
  EXPECT_THAT(error_with("use_qk_norm", false), HasSubstr("use_qk_norm"));
  EXPECT_THAT(error_with("norm_head", true), HasSubstr("norm_head"));
  EXPECT_THAT(error_with("score_function", "softmax"), HasSubstr("score_function"));
}

json diffusion_gemma() {
  json layer_types;
  for (int layer = 0; layer < 30; ++layer) {
    layer_types.push_back(layer % 6 == 5 ? "full_attention" : "sliding_attention");
  }
  const json text = {
      {"hidden_size", 2816},
      {"num_hidden_layers", 30},
      {"layer_types", layer_types},
      {"num_attention_heads", 16},
      {"num_key_value_heads", 8},
      {"head_dim", 256},
      {"num_global_key_value_heads", 2},
      {"global_head_dim", 512},
      {"sliding_window", 1024},
      {"intermediate_size", 2112},
      {"moe_intermediate_size", 704},
      {"num_experts", 128},
      {"top_k_experts", 8},
      {"vocab_size", 262144},
      {"rms_norm_eps", 1e-6},
      {"hidden_activation", "gelu_pytorch_tanh"},
      {"attention_bias", false},
      {"final_logit_softcapping", 30.0},
      {"max_position_embeddings", 262144},
      {"use_bidirectional_attention", "vision"},
      {"rope_parameters",
       {{"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}},
        {"full_attention",
         {{"rope_type", "proportional"}, {"partial_rotary_factor", 0.25}, {"rope_theta", 1e6}}}}}};
  return {{"architectures", {"DiffusionGemmaForBlockDiffusion"}},
          {"canvas_length", 256},
          {"tie_word_embeddings", true},
          {"torch_dtype", "bfloat16"},
          {"text_config", text}};
}

TEST_F(ModelSpecTest, ReadsLayersOfTwoKinds) {
  write("tokenizer_config.json", {{"mask_token", {{"content", "<mask>"}}}});
  write("added_tokens.json", {{"<mask>", 4}});
  const ModelSpec spec = read(diffusion_gemma());
  EXPECT_EQ(
      spec.attention_of(4),
      (AttentionSpec{
          .num_kv_heads = 8, .head_dim = 256, .rope = {1e4, 256}, .scale = 1.0F, .window = 1024}));
  EXPECT_EQ(spec.attention_of(5), (AttentionSpec{.num_kv_heads = 2,
                                                 .head_dim = 512,
                                                 .rope = {1e6, 512, /*num_still_pairs=*/192},
                                                 .scale = 1.0F,
                                                 .value_from_key = true}));
  EXPECT_EQ(spec.canvas_length, 256);
  EXPECT_EQ(spec.mask_id, std::nullopt) << "the tokenizer's is not used";
  EXPECT_THAT(spec.eos_ids, ElementsAre(1, 50, 106));
  EXPECT_EQ(spec.embedding_scale, 53.0F) << "sqrt(2816) = 53.07 in bf16";
  EXPECT_EQ(spec.logit_softcap, 30.0F);
  EXPECT_EQ(spec.moe.experts_per_token, 8);
  EXPECT_TRUE(spec.moe.beside_dense && spec.moe.is_moe(0));
  EXPECT_EQ(facts_of(spec).canvas_length, 256);
  EXPECT_EQ(plan_memory(spec, {}).weights, 2 * std::int64_t{25'250'986'812}) << "25.2 B, published";

  json newer = diffusion_gemma();
  newer["text_config"].erase("global_head_dim");
  newer["text_config"].erase("num_global_key_value_heads");
  newer["text_config"]["per_layer_config"] = json::object();
  for (const char* layer : {"5", "11", "17", "23", "29"}) {
    newer["text_config"]["per_layer_config"][layer] = {{"head_dim", 512},
                                                       {"num_key_value_heads", 2}};
  }
  EXPECT_EQ(read(newer).attention_of(29), spec.attention_of(29));
}

TEST_F(ModelSpecTest, WhatTheTextModelCannotDoIsRefusedByField) {
  const auto error_with = [&](const char* field, const json& value) {
    json config = diffusion_gemma();
    config["text_config"][field] = value;
    return error_of(config);
  };
  EXPECT_THAT(error_with("hidden_activation", "silu"), HasSubstr("text_config: hidden_activation"));
  EXPECT_THAT(error_with("use_bidirectional_attention", "all"), HasSubstr("use_bidirectional"));
  EXPECT_THAT(error_with("layer_types", {"linear_attention"}), HasSubstr("layer_types"));
  EXPECT_THAT(error_with("tie_word_embeddings", false), HasSubstr("tie_word_embeddings"));
  EXPECT_THAT(error_with("top_k_experts", 129), HasSubstr("top_k_experts"));
  EXPECT_THAT(error_with("head_dim", 1024), HasSubstr("head_dim"));
  EXPECT_THAT(error_with("sliding_window", nullptr), HasSubstr("sliding_window is missing"));
  EXPECT_THAT(error_with("per_layer_config", {{"0", {{"head_dim", 512}}}}),
              HasSubstr("layer 0 is not full"));
  EXPECT_THAT(error_with("rope_parameters", {{"full_attention", {{"rope_type", "yarn"}}}}),
              HasSubstr("full_attention: rope_type"));
  json config = diffusion_gemma();
  config.erase("text_config");
  EXPECT_THAT(error_of(config), HasSubstr("text_config is missing"));
}

TEST_F(ModelSpecTest, ReadsTheBundledModel) {
  const ModelSpec spec = read_model_spec(fs::path(TESSERA_SOURCE_DIR) / "deploy/models/tiny-sdar");
  EXPECT_EQ(spec.tokenizer_size, 2020);
  EXPECT_EQ(spec.mask_id, 2019);
  EXPECT_THAT(spec.eos_ids, ElementsAre(2014, 2016));
  const ModelFacts facts = facts_of(spec);
  EXPECT_EQ(facts.vocab_size, 2048);
  EXPECT_EQ(facts.tokenizer_size, 2020);
  EXPECT_EQ(facts.block_size, 32);
}

TEST_F(ModelSpecTest, FamiliesImplyTheirBiasNormAndShift) {
  json config = sdar();
  config.erase("attention_bias");
  config["architectures"] = {"DreamModel"};
  ModelSpec spec = read(config);
  EXPECT_TRUE(spec.qkv_bias && spec.shifted);
  EXPECT_FALSE(spec.qk_norm);

  config["architectures"] = {"StableDiffcoderForCausalLM"};
  spec = read(config);
  EXPECT_FALSE(spec.qkv_bias || spec.shifted || spec.qk_norm);

  config["architectures"] = {"Fast_dLLM_QwenForCausalLM"};
  config.erase("block_size");
  config["bd_size"] = 8;
  EXPECT_EQ(read(config).block_size, 8);
}

TEST_F(ModelSpecTest, EosIdsOfBothFilesCount) {
  write("generation_config.json", {{"eos_token_id", {151645, 151643}}});
  EXPECT_THAT(read(sdar()).eos_ids, ElementsAre(151643, 151645));
}

TEST_F(ModelSpecTest, MaskIdComesFromTheTokenizerWhenTheConfigurationIsSilent) {
  json config = sdar();
  config.erase("mask_token_id");
  EXPECT_EQ(read(config).mask_id, 151669) << "default of the family";

  write("tokenizer_config.json", {{"mask_token", {{"content", "<m>"}}}});
  write("added_tokens.json", {{"<m>", 77}});
  EXPECT_EQ(read(config).mask_id, 77);

  write("tokenizer_config.json",
        {{"mask_token", "<m>"}, {"added_tokens_decoder", {{"99", {{"content", "<m>"}}}}}});
  EXPECT_EQ(read(config).mask_id, 99);

  config["vocab_size"] = 200;
  config["eos_token_id"] = 3;
  fs::remove(dir_ / "tokenizer_config.json");
  EXPECT_EQ(read(config).mask_id, std::nullopt) << "the family's lies beyond this vocabulary";
}

TEST_F(ModelSpecTest, TokenizerSizeIsTheLargestIdPlusOne) {
  write("tokenizer.json", {{"model", {{"vocab", {{"a", 0}, {"b", 7}}}}},
                           {"added_tokens", {{{"id", 11}, {"content", "<x>"}}}}});
  EXPECT_EQ(read(sdar()).tokenizer_size, 12);
  json config = sdar();
  config["vocab_size"] = 11;
  config["eos_token_id"] = 3;
  config["mask_token_id"] = 4;
  EXPECT_THAT(error_of(config), HasSubstr("vocab_size = 11 is less than the 12 ids"));
}

TEST_F(ModelSpecTest, VocabularyFilesGiveTheTokenizerSize) {
  write("vocab.json", {{"a", 0}, {"b", 7}});
  EXPECT_EQ(read(sdar()).tokenizer_size, 8);
  write("tokenizer_config.json", {{"added_tokens_decoder", {{"9", {{"content", "<x>"}}}}}});
  EXPECT_EQ(read(sdar()).tokenizer_size, 10);
  write("tokenizer_config.json", {{"added_tokens_decoder", {{"x", {{"content", "<x>"}}}}}});
  EXPECT_THAT(error_of(sdar()), HasSubstr("added_tokens_decoder"));
}

TEST_F(ModelSpecTest, RopeParametersOfNewerFilesAreRead) {
  json config = sdar();
  config.erase("rope_theta");
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  EXPECT_EQ(read(config).attention_of(0).rope.theta, 5e5);
}

// field, value that must be refused
class RefusedSwitchTest : public ModelSpecTest,
                          public ::testing::WithParamInterface<std::pair<const char*, json>> {};

TEST_P(RefusedSwitchTest, NamesTheField) {
  json config = sdar();
  const auto& [field, value] = GetParam();
  config[field] = value;
  EXPECT_THAT(error_of(config), HasSubstr(field));
}

INSTANTIATE_TEST_SUITE_P(All,
                         RefusedSwitchTest,
                         ::testing::Values(std::pair{"hidden_act", json("gelu")},
                                           std::pair{"attention_bias", json(true)},
                                           std::pair{"use_sliding_window", json(true)},
                                           std::pair{"rope_scaling", json({{"rope_type", "yarn"}})},
                                           std::pair{"rope_scaling", json({{"type", "linear"}})},
                                           std::pair{"layer_types", json({"sliding_attention"})},
                                           std::pair{"quantization_config", json({{"bits", 4}})},
                                           std::pair{"num_experts", json(8)},
                                           std::pair{"hidden_size", json(0)},
                                           std::pair{"hidden_size", json("2560")},
                                           std::pair{"hidden_size", json(2560.5)},
                                           std::pair{"hidden_size", json(std::int64_t{1} << 40)},
                                           std::pair{"vocab_size", json(std::uint64_t{1} << 63)},
                                           std::pair{"num_hidden_layers", json(-1)},
                                           std::pair{"rms_norm_eps", json(-1e-6)},
                                           std::pair{"head_dim", json(127)},
                                           std::pair{"head_dim", json(nullptr)},
                                           std::pair{"rope_theta", json(nullptr)},
                                           std::pair{"mask_token_id", json(151936)},
                                           std::pair{"eos_token_id", json(151936)},
                                           std::pair{"eos_token_id", json("eos")},
                                           std::pair{"tie_word_embeddings", json("yes")},
                                           std::pair{"block_size", json(0)}));

TEST_F(ModelSpecTest, MissingFieldsAreNamed) {
  for (const char* field :
       {"hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
        "vocab_size", "head_dim", "rope_theta", "max_position_embeddings"}) {
    json config = sdar();
    config.erase(field);
    EXPECT_THAT(error_of(config), HasSubstr(std::string(field) + " is missing"));
  }
}

// What config.json says of its family, and the family.
struct FamilyCase {
  json fields;
  const char* family;
};

class FamilyDetectionTest : public ModelSpecTest,
                            public ::testing::WithParamInterface<FamilyCase> {};

TEST_P(FamilyDetectionTest, TheFamilyIsFoundInConfigJsonAlone) {
  json config = GetParam().family == std::string("llada2") ? llada2_mini() : sdar();
  config.erase("architectures");
  config.erase("attention_bias");
  config.update(GetParam().fields);
  EXPECT_EQ(read(config).family, GetParam().family);
}

INSTANTIATE_TEST_SUITE_P(
    Published,
    FamilyDetectionTest,
    ::testing::Values(
        FamilyCase{{{"architectures", {"SDARForCausalLM"}}, {"model_type", "sdar"}}, "sdar"},
        FamilyCase{{{"architectures", {"DreamModel"}}, {"model_type", "Dream"}}, "dream"},
        FamilyCase{{{"architectures", {"DreamForCausalLM"}}, {"model_type", "Dream"}},
                   "dream_reasoner"},
        FamilyCase{{{"architectures", {"StableDiffcoderForCausalLM"}}, {"model_type", "llama"}},
                   "stable_diffcoder"},
        FamilyCase{
            {{"architectures", {"Fast_dLLM_QwenForCausalLM"}}, {"model_type", "Fast_dLLM_Qwen"}},
            "fast_dllm_v2"},
        FamilyCase{{{"architectures", {"LLaDA2MoeModelLM"}}, {"model_type", "llada2_moe"}},
                   "llada2"}));

INSTANTIATE_TEST_SUITE_P(
    WithLess,
    FamilyDetectionTest,
    ::testing::Values(
        FamilyCase{{{"model_type", "sdar"}}, "sdar"},
        FamilyCase{{{"model_type", "Fast_dLLM_Qwen"}}, "fast_dllm_v2"},
        FamilyCase{{{"model_type", "llada2_moe"}}, "llada2"},
        FamilyCase{{{"architectures", {"SDARForCausalLM"}}}, "sdar"},
        FamilyCase{{{"auto_map", {{"AutoModelForCausalLM", "modeling_sdar.SDARForCausalLM"}}}},
                   "sdar"},
        FamilyCase{{{"model_type", "Dream"},
                    {"auto_map",
                     {{"AutoModel", "a/b--modeling_dream.DreamModel"},
                      {"AutoTokenizer", {"x.Slow", nullptr}}}}},
                   "dream"},
        FamilyCase{{{"model_type", "llama"},
                    {"auto_map", {{"AutoModel", "modeling.StableDiffcoderForCausalLM"}}}},
                   "stable_diffcoder"},
        FamilyCase{{{"architectures", {"MySdar"}}, {"model_type", "sdar"}}, "sdar"}));

TEST_F(ModelSpecTest, AnUnknownFamilyIsRefusedWithTheKnownOnes) {
  json config = sdar();
  config["architectures"] = {"LlamaForCausalLM"};
  config["model_type"] = "llama";
  EXPECT_THAT(error_of(config), AllOf(HasSubstr("architectures [LlamaForCausalLM], model_type "
                                                "\"llama\" name no known family"),
                                      HasSubstr("sdar (SDARForCausalLM, model_type sdar)"),
                                      HasSubstr("stable_diffcoder (StableDiffcoderForCausalLM)")));
  config.erase("architectures");
  config.erase("model_type");
  EXPECT_THAT(error_of(config), AllOf(HasSubstr("neither architectures, model_type nor auto_map"),
                                      HasSubstr("SDARForCausalLM")));
}

TEST_F(ModelSpecTest, AFamilyThatIsNotClearIsRefused) {
  json config = sdar();
  config.erase("architectures");
  config["model_type"] = "Dream";
  EXPECT_THAT(error_of(config), HasSubstr("fit more than one family; set architectures to one of "
                                          "DreamModel, DreamForCausalLM"));
  config["architectures"] = {"SDARForCausalLM"};
  EXPECT_THAT(error_of(config), HasSubstr("contradict each other"));
  config["model_type"] = "sdar";
  config["auto_map"] = {{"AutoModel", "modeling_llada.LLaDAModelLM"}};
  EXPECT_THAT(error_of(config), HasSubstr("contradict each other"));
}

TEST_F(ModelSpecTest, HeadsMustDivide) {
  json config = sdar();
  config["num_key_value_heads"] = 5;
  EXPECT_THAT(error_of(config), HasSubstr("32 query heads are not a multiple of 5"));
}

TEST_F(ModelSpecTest, BrokenFilesAreNamed) {
  EXPECT_ERROR(read_model_spec(dir_), kInvalidArgument);
  std::ofstream(dir_ / "config.json") << "{\"architectures\": [";
  EXPECT_ERROR(read_model_spec(dir_), kInvalidArgument);
  std::ofstream(dir_ / "config.json") << "[1]";
  EXPECT_ERROR(read_model_spec(dir_), kInvalidArgument);
  for (const char* lie : {R"({"model": {}})", R"({"model": {"vocab": {"a": -1}}})", R"({"model":)",
                          R"({"model": {"vocab": {"a": 1}}, "added_tokens": [3]})"}) {
    std::ofstream(dir_ / "tokenizer.json") << lie;
    EXPECT_THAT(error_of(sdar()), HasSubstr("tokenizer.json")) << lie;
  }
}

}  // namespace
}  // namespace tessera

#include "common/model_spec/families.h"

#include <algorithm>
#include <cmath>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr std::int32_t kMaxWidth = 1 << 20;
constexpr std::int32_t kMaxLayers = 1024;
constexpr std::int32_t kMaxHeads = 4096;
constexpr std::int32_t kMaxExperts = 1024;  // what kernels/moe.h takes

// theta has no default: those of the upstream classes are not what their checkpoints use.
double read_rope_theta(const ConfigFields& config) {
  for (const char* name : {"rope_scaling", "rope_parameters"}) {
    const nlohmann::json& scaling = config.raw(name);
    if (scaling.is_null()) continue;
    TESSERA_REQUIRE(scaling.is_object(), config.file(), ": ", name, " must be an object");
    for (const char* key : {"rope_type", "type"}) {
      TESSERA_REQUIRE(!scaling.contains(key) || scaling[key] == "default", config.file(), ": ",
                      name, ".", key, " = ", scaling[key].dump(),
                      " is not supported (only \"default\" is)");
    }
  }
  if (!config.has("rope_theta") && config.has("rope_parameters")) {
    const nlohmann::json theta =
        config.raw("rope_parameters").value("rope_theta", nlohmann::json());
    TESSERA_REQUIRE(theta.is_number() && theta.get<double>() > 0.0, config.file(),
                    ": rope_parameters.rope_theta must be a positive number");
    return theta.get<double>();
  }
  return config.positive_number("rope_theta");
}

void require_full_attention(const ConfigFields& config) {
  config.require_only("use_sliding_window", false);
  for (const std::string& kind : config.strings("layer_types")) {
    TESSERA_REQUIRE(kind == "full_attention", config.file(), ": layer_types holds \"", kind,
                    "\", which is not supported (only \"full_attention\" is)");
  }
}

enum class HeadDimRule { kRequired, kHiddenOverHeads };

std::int32_t read_head_dim(const ConfigFields& config, const ModelSpec& spec, HeadDimRule rule) {
  if (rule == HeadDimRule::kRequired || config.has("head_dim")) {
    return config.integer("head_dim", 2, 1024);
  }
  TESSERA_REQUIRE(
      spec.hidden_size % spec.num_q_heads == 0, config.file(), ": hidden_size = ", spec.hidden_size,
      " is not a multiple of num_attention_heads = ", spec.num_q_heads, " and head_dim is missing");
  return spec.hidden_size / spec.num_q_heads;
}

// The fields that Qwen2, Qwen3 and Llama share.
void read_llama_like(const ConfigFields& config, HeadDimRule rule, ModelSpec& spec) {
  config.require_only("hidden_act", "silu");
  config.require_only("use_mrope", false);
  config.require_only("mlp_bias", false);
  require_full_attention(config);
  spec.layout = TensorLayout::kLlama;
  spec.hidden_size = config.integer("hidden_size", 1, kMaxWidth);
  spec.num_layers = config.integer("num_hidden_layers", 0, kMaxLayers);
  spec.num_q_heads = config.integer("num_attention_heads", 1, kMaxHeads);
  spec.num_kv_heads =
      config.optional_integer("num_key_value_heads", 1, kMaxHeads).value_or(spec.num_q_heads);
  spec.head_dim = read_head_dim(config, spec, rule);
  spec.intermediate_size = config.integer("intermediate_size", 1, kMaxWidth);
  spec.vocab_size = config.integer("vocab_size", 1);
  if (config.has("rms_norm_eps")) {
    spec.rms_norm_eps = static_cast<float>(config.positive_number("rms_norm_eps"));
  }
  spec.rope = {read_rope_theta(config), spec.head_dim};
  spec.tie_word_embeddings = config.boolean("tie_word_embeddings", false);
  spec.max_position_embeddings = config.integer("max_position_embeddings", 1);
}

// Under the published name, or one that newer writers use.
std::int32_t read_num_experts(const ConfigFields& config) {
  for (const char* name : {"num_local_experts", "n_routed_experts"}) {
    if (!config.has("num_experts") && config.has(name)) return config.integer(name, 1, kMaxExperts);
  }
  return config.integer("num_experts", 1, kMaxExperts);
}

void read_experts(const ConfigFields& config, MoeSpec& moe) {
  moe.num_experts = read_num_experts(config);
  moe.experts_per_token = config.integer("num_experts_per_tok", 1, moe.num_experts);
  moe.intermediate_size = config.integer("moe_intermediate_size", 1, kMaxWidth);
}

void read_qwen2(const ConfigFields& config, ModelSpec& spec) {
  config.require_only("num_experts", 0);
  config.require_only("attention_bias", true);  // the layout has no switch: q, k, v always have one
  read_llama_like(config, HeadDimRule::kHiddenOverHeads, spec);
  spec.qkv_bias = true;
}

// head_dim is required: the class default (128) is not what small checkpoints use.
void read_qwen3_attention(const ConfigFields& config, ModelSpec& spec) {
  config.require_only("attention_bias", false);
  read_llama_like(config, HeadDimRule::kRequired, spec);
  spec.qk_norm = true;
}

void read_qwen3(const ConfigFields& config, ModelSpec& spec) {
  config.require_only("num_experts", 0);
  read_qwen3_attention(config, spec);
}

void read_qwen3_moe(const ConfigFields& config, ModelSpec& spec) {
  read_qwen3_attention(config, spec);
  MoeSpec& moe = spec.moe;
  moe.router = RouterKind::kSoftmax;
  read_experts(config, moe);
  moe.normalise = config.boolean("norm_topk_prob", true);
  const std::int32_t step =
      config.optional_integer("decoder_sparse_step", 1, kMaxLayers).value_or(1);
  const std::vector<std::int32_t> dense = config.ids("mlp_only_layers");
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    const bool is_dense = std::find(dense.begin(), dense.end(), layer) != dense.end();
    moe.layers.push_back(!is_dense && (layer + 1) % step == 0);
  }
}

// Published files carry sliding_window and max_window_layers, which nothing uses, and
// norm_topk_prob, which the published code ignores: with more than one expert it always normalises.
void read_llada2(const ConfigFields& config, ModelSpec& spec) {
  config.require_only("score_function", "sigmoid");
  config.require_only("router_dtype", "fp32");
  for (const char* name : {"use_qk_norm", "moe_router_enable_expert_bias"}) {
    config.require_only(name, true);
  }
  for (const char* name : {"use_bias", "norm_head", "using_split_qkv_in_self_attention"}) {
    config.require_only(name, false);
  }
  read_llama_like(config, HeadDimRule::kHiddenOverHeads, spec);
  spec.layout = TensorLayout::kLlada2;
  spec.qk_norm = true;
  spec.qkv_bias = config.boolean("use_qkv_bias", false);
  const double rotated =
      config.has("partial_rotary_factor") ? config.positive_number("partial_rotary_factor") : 1.0;
  spec.rope.width = static_cast<std::int32_t>(spec.head_dim * rotated);
  TESSERA_REQUIRE(rotated <= 1.0 && spec.rope.width % 2 == 0, config.file(),
                  ": partial_rotary_factor = ", rotated, " of head_dim = ", spec.head_dim,
                  " is not an even number of at most that many dimensions");
  const auto stated = config.optional_integer("rotary_dim", 0, spec.head_dim);
  TESSERA_REQUIRE(stated.value_or(spec.rope.width) == spec.rope.width, config.file(),
                  ": rotary_dim = ", stated.value_or(0), " but partial_rotary_factor gives ",
                  spec.rope.width);
  MoeSpec& moe = spec.moe;
  moe.router = RouterKind::kGroupedSigmoid;
  read_experts(config, moe);
  moe.normalise = moe.experts_per_token > 1;
  moe.scale =
      config.has("routed_scaling_factor") ? config.positive_number("routed_scaling_factor") : 1.0;
  moe.num_groups = config.optional_integer("n_group", 1, moe.num_experts).value_or(1);
  moe.groups_per_token = config.optional_integer("topk_group", 1, moe.num_groups).value_or(1);
  TESSERA_REQUIRE(moe.num_experts % moe.num_groups == 0, config.file(),
                  ": num_experts = ", moe.num_experts,
                  " is not a multiple of n_group = ", moe.num_groups);
  const std::int32_t choices = moe.num_experts / moe.num_groups * moe.groups_per_token;
  TESSERA_REQUIRE(moe.experts_per_token <= choices, config.file(),
                  ": num_experts_per_tok = ", moe.experts_per_token, " of the ", choices,
                  " experts in topk_group groups");
  moe.shared_intermediate_size =
      moe.intermediate_size * config.optional_integer("num_shared_experts", 0, 64).value_or(0);
  const std::int32_t num_dense =
      config.optional_integer("first_k_dense_replace", 0, kMaxLayers).value_or(0);
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    moe.layers.push_back(layer >= num_dense);
  }
}

void read_llama(const ConfigFields& config, ModelSpec& spec) {
  config.require_only("num_experts", 0);
  config.require_only("attention_bias", false);
  read_llama_like(config, HeadDimRule::kHiddenOverHeads, spec);
}

// OLMo style names. Whatever the published checkpoints leave off is refused, not ignored.
void read_llada(const ConfigFields& config, ModelSpec& spec) {
  config.require_only("activation_type", "silu");
  config.require_only("block_type", "llama");
  config.require_only("layer_norm_type", "rms");
  config.require_only("block_group_size", 1);
  for (const char* name : {"layer_norm_with_affine", "rope"}) config.require_only(name, true);
  for (const char* name :
       {"alibi", "include_bias", "include_qkv_bias", "bias_for_layer_norm", "attention_layer_norm",
        "input_emb_norm", "scale_logits", "multi_query_attention"}) {
    config.require_only(name, false);
  }
  config.require_only("clip_qkv", nullptr);
  spec.layout = TensorLayout::kLlada;
  spec.hidden_size = config.integer("d_model", 1, kMaxWidth);
  spec.num_layers = config.integer("n_layers", 0, kMaxLayers);
  spec.num_q_heads = config.integer("n_heads", 1, kMaxHeads);
  spec.num_kv_heads =
      config.optional_integer("n_kv_heads", 1, kMaxHeads).value_or(spec.num_q_heads);
  TESSERA_REQUIRE(spec.hidden_size % spec.num_q_heads == 0, config.file(),
                  ": d_model = ", spec.hidden_size,
                  " is not a multiple of n_heads = ", spec.num_q_heads);
  spec.head_dim = spec.hidden_size / spec.num_q_heads;
  spec.intermediate_size = config.integer("mlp_hidden_size", 1, kMaxWidth);
  spec.vocab_size =
      config.optional_integer("embedding_size", 1).value_or(config.integer("vocab_size", 1));
  spec.rms_norm_eps = static_cast<float>(config.positive_number("rms_norm_eps"));
  spec.rope = {read_rope_theta(config), spec.head_dim};
  spec.tie_word_embeddings = config.boolean("weight_tying", false);
  spec.max_position_embeddings = config.integer("max_sequence_length", 1);
}

}  // namespace

std::span<const ModelFamily> model_families() {
  using enum TrainedAttention;
  static const std::vector<ModelFamily> kFamilies = {
      {"sdar",
       "SDARForCausalLM",
       "sdar",
       kBlockCausal,
       false,
       151669,
       {151643, 151645},
       4,
       &read_qwen3},
      {"sdar_moe",
       "SDARMoeForCausalLM",
       "sdar_moe",
       kBlockCausal,
       false,
       151669,
       {151643, 151645},
       4,
       &read_qwen3_moe},
      {"llada2",
       "LLaDA2MoeModelLM",
       "llada2_moe",
       kBlockCausal,
       false,
       156895,
       {156892},
       32,
       &read_llada2},
      {"dream",
       "DreamModel",
       "Dream",
       kBidirectionalPrompt,
       true,
       151666,
       {151643},
       std::nullopt,
       &read_qwen2},
      {"dream_reasoner",
       "DreamForCausalLM",
       "Dream",
       kBlockCausal,
       false,
       151669,
       {151643, 151645},
       32,
       &read_qwen3},
      {"fast_dllm_v2",
       "Fast_dLLM_QwenForCausalLM",
       "Fast_dLLM_Qwen",
       kSubBlocks,
       true,
       151665,
       {151643, 151645},
       32,
       &read_qwen2},
      {"stable_diffcoder",
       "StableDiffcoderForCausalLM",
       "",
       kBlockCausal,
       false,
       5,
       {2},
       4,
       &read_llama},
      {"llada",
       "LLaDAModelLM",
       "llada",
       kBidirectionalPrompt,
       false,
       126336,
       {126081},
       std::nullopt,
       &read_llada},
  };
  return kFamilies;
}

}  // namespace tessera

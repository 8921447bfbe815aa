#include "common/model_spec/families.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "common/base/error.h"
#include "common/tensor/float_formats.h"

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

AttentionSpec plain_attention(std::int32_t num_kv_heads, std::int32_t head_dim, double theta) {
  return {.num_kv_heads = num_kv_heads,
          .head_dim = head_dim,
          .rope = {theta, head_dim},
          .scale = 1.0F / std::sqrt(static_cast<float>(head_dim))};
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
  const std::int32_t num_kv_heads =
      config.optional_integer("num_key_value_heads", 1, kMaxHeads).value_or(spec.num_q_heads);
  const std::int32_t head_dim = read_head_dim(config, spec, rule);
  spec.intermediate_size = config.integer("intermediate_size", 1, kMaxWidth);
  spec.vocab_size = config.integer("vocab_size", 1);
  if (config.has("rms_norm_eps")) {
    spec.rms_norm_eps = static_cast<float>(config.positive_number("rms_norm_eps"));
  }
  spec.attention_kinds = {plain_attention(num_kv_heads, head_dim, read_rope_theta(config))};
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

void read_experts(const ConfigFields& config, const char* per_token, MoeSpec& moe) {
  moe.num_experts = read_num_experts(config);
  moe.experts_per_token = config.integer(per_token, 1, moe.num_experts);
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
  read_experts(config, "num_experts_per_tok", moe);
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
  AttentionSpec& attention = spec.attention_kinds.front();
  RopeSpec& rope = attention.rope;
  const double rotated =
      config.has("partial_rotary_factor") ? config.positive_number("partial_rotary_factor") : 1.0;
  rope.width = static_cast<std::int32_t>(attention.head_dim * rotated);
  TESSERA_REQUIRE(rotated <= 1.0 && rope.width % 2 == 0, config.file(),
                  ": partial_rotary_factor = ", rotated, " of head_dim = ", attention.head_dim,
                  " is not an even number of at most that many dimensions");
  const auto stated = config.optional_integer("rotary_dim", 0, attention.head_dim);
  TESSERA_REQUIRE(stated.value_or(rope.width) == rope.width, config.file(),
                  ": rotary_dim = ", stated.value_or(0), " but partial_rotary_factor gives ",
                  rope.width);
  MoeSpec& moe = spec.moe;
  moe.router = RouterKind::kGroupedSigmoid;
  read_experts(config, "num_experts_per_tok", moe);
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
  const std::int32_t num_kv_heads =
      config.optional_integer("n_kv_heads", 1, kMaxHeads).value_or(spec.num_q_heads);
  TESSERA_REQUIRE(spec.hidden_size % spec.num_q_heads == 0, config.file(),
                  ": d_model = ", spec.hidden_size,
                  " is not a multiple of n_heads = ", spec.num_q_heads);
  spec.attention_kinds = {
      plain_attention(num_kv_heads, spec.hidden_size / spec.num_q_heads, read_rope_theta(config))};
  spec.intermediate_size = config.integer("mlp_hidden_size", 1, kMaxWidth);
  spec.vocab_size =
      config.optional_integer("embedding_size", 1).value_or(config.integer("vocab_size", 1));
  spec.rms_norm_eps = static_cast<float>(config.positive_number("rms_norm_eps"));
  spec.tie_word_embeddings = config.boolean("weight_tying", false);
  spec.max_position_embeddings = config.integer("max_sequence_length", 1);
}

constexpr const char* kSliding = "sliding_attention";
constexpr const char* kFull = "full_attention";

// Kind of every layer: 0 sliding, 1 full. The last one is full whatever the file says, as upstream.
std::vector<std::int32_t> read_layer_kinds(const ConfigFields& text, std::int32_t num_layers) {
  constexpr std::int32_t kPeriod = 6;  // when the file is silent
  const std::vector<std::string> types = text.strings("layer_types");
  TESSERA_REQUIRE(types.empty() || static_cast<std::int32_t>(types.size()) == num_layers,
                  text.file(), ": layer_types has ", types.size(), " entries for ", num_layers,
                  " layers");
  std::vector<std::int32_t> kinds;
  for (std::int32_t layer = 0; layer < num_layers; ++layer) {
    const std::string type = !types.empty()               ? types[static_cast<std::size_t>(layer)]
                             : (layer + 1) % kPeriod == 0 ? kFull
                                                          : kSliding;
    TESSERA_REQUIRE(type == kSliding || type == kFull, text.file(), ": layer_types holds \"", type,
                    "\", which is neither \"", kSliding, "\" nor \"", kFull, "\"");
    kinds.push_back(type == kFull || layer + 1 == num_layers ? 1 : 0);
  }
  return kinds;
}

// rope_parameters of one kind of layer.
RopeSpec read_kind_rope(const ConfigFields& rope, const std::string& type, double default_theta) {
  rope.require_only("rope_type", type);
  return {rope.has("rope_theta") ? rope.positive_number("rope_theta") : default_theta, 0};
}

AttentionSpec read_sliding_attention(const ConfigFields& text) {
  AttentionSpec kind;
  kind.num_kv_heads = text.integer("num_key_value_heads", 1, kMaxHeads);
  kind.head_dim = text.integer("head_dim", 2, 512);
  kind.rope = read_kind_rope(text.section("rope_parameters").section(kSliding), "default", 1e4);
  kind.rope.width = kind.head_dim;
  kind.window = text.integer("sliding_window", 2);
  return kind;
}

// The widths of full layers are published under names of their own; newer files have them in
// per_layer_config, by the index of the layer.
AttentionSpec read_full_attention(const ConfigFields& text,
                                  const std::vector<std::int32_t>& kinds) {
  AttentionSpec kind;
  kind.num_kv_heads = text.optional_integer("num_global_key_value_heads", 1, kMaxHeads)
                          .value_or(text.integer("num_key_value_heads", 1, kMaxHeads));
  kind.head_dim = text.optional_integer("global_head_dim", 2, 512).value_or(512);
  const ConfigFields overrides = text.section("per_layer_config");
  std::optional<std::pair<std::int32_t, std::int32_t>> stated;
  for (std::size_t layer = 0; layer < kinds.size(); ++layer) {
    const std::string index = std::to_string(layer);
    if (!overrides.has(index)) continue;
    TESSERA_REQUIRE(kinds[layer] == 1, overrides.file(), ": layer ", layer, " is not full");
    const ConfigFields override = overrides.section(index);
    kind.head_dim =
        override.optional_integer("head_dim", 2, 512).value_or(text.integer("head_dim", 2, 512));
    kind.num_kv_heads = override.optional_integer("num_key_value_heads", 1, kMaxHeads)
                            .value_or(text.integer("num_key_value_heads", 1, kMaxHeads));
    const std::pair widths{kind.head_dim, kind.num_kv_heads};
    TESSERA_REQUIRE(stated.value_or(widths) == widths, overrides.file(), ": layer ", layer,
                    " differs from the full layers before it");
    stated = widths;
  }
  const ConfigFields rope = text.section("rope_parameters").section(kFull);
  kind.rope = read_kind_rope(rope, "proportional", 1e6);
  kind.rope.width = kind.head_dim;
  const double rotated =
      rope.has("partial_rotary_factor") ? rope.positive_number("partial_rotary_factor") : 0.25;
  TESSERA_REQUIRE(rotated <= 1.0, rope.file(), ": partial_rotary_factor = ", rotated,
                  " must be at most 1");
  kind.rope.num_still_pairs =
      kind.head_dim / 2 - static_cast<std::int32_t>(rotated * kind.head_dim / 2);
  kind.value_from_key = true;
  return kind;
}

// sqrt(hidden), rounded to what the checkpoint's weights are.
float embedding_scale(const ConfigFields& config, const ConfigFields& text, std::int32_t hidden) {
  const float scale = std::sqrt(static_cast<float>(hidden));
  for (const ConfigFields* fields : {&config, &text}) {
    for (const char* name : {"torch_dtype", "dtype"}) {
      if (fields->optional_string(name).value_or("") == "bfloat16") {
        return float_of_bfloat16(bfloat16_of_float(scale));
      }
    }
  }
  return scale;
}

// Text only: whatever belongs to images is left out. The text model's fields are a section of
// their own.
void read_diffusion_gemma(const ConfigFields& config, ModelSpec& spec) {
  TESSERA_REQUIRE(config.has("text_config"), config.file(), ": text_config is missing (an object)");
  const ConfigFields text = config.section("text_config");
  text.require_only("hidden_activation", "gelu_pytorch_tanh");
  text.require_only("attention_bias", false);
  text.require_only("use_bidirectional_attention", "vision");
  for (const ConfigFields* fields : {&config, &text}) {
    fields->require_only("tie_word_embeddings", true);
  }
  spec.layout = TensorLayout::kDiffusionGemma;
  spec.hidden_size = text.integer("hidden_size", 1, kMaxWidth);
  spec.num_layers = text.integer("num_hidden_layers", 1, kMaxLayers);
  spec.num_q_heads = text.integer("num_attention_heads", 1, kMaxHeads);
  spec.layer_kinds = read_layer_kinds(text, spec.num_layers);
  spec.attention_kinds = {read_sliding_attention(text),
                          read_full_attention(text, spec.layer_kinds)};
  spec.intermediate_size = text.integer("intermediate_size", 1, kMaxWidth);
  spec.activation = Activation::kGeluTanh;
  spec.vocab_size = text.integer("vocab_size", 1);
  if (text.has("rms_norm_eps")) {
    spec.rms_norm_eps = static_cast<float>(text.positive_number("rms_norm_eps"));
  }
  spec.qk_norm = true;
  spec.value_norm = true;
  spec.norms_round_once = true;
  spec.output_norms = true;
  spec.layer_scalars = true;
  spec.embedding_scale = embedding_scale(config, text, spec.hidden_size);
  spec.logit_softcap = text.has("final_logit_softcapping")
                           ? static_cast<float>(text.positive_number("final_logit_softcapping"))
                           : 30.0F;
  spec.tie_word_embeddings = true;
  spec.max_position_embeddings = text.integer("max_position_embeddings", 1);
  spec.canvas_length = config.optional_integer("canvas_length", 1, 4096).value_or(256);
  MoeSpec& moe = spec.moe;
  moe.router = RouterKind::kOwnNorm;
  read_experts(text, "top_k_experts", moe);
  moe.layers.assign(static_cast<std::size_t>(spec.num_layers), true);
  moe.beside_dense = true;
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
      {"diffusion_gemma",
       "DiffusionGemmaForBlockDiffusion",
       "diffusion_gemma",
       kCanvas,
       false,
       std::nullopt,
       {1, 50, 106},
       std::nullopt,
       &read_diffusion_gemma},
  };
  return kFamilies;
}

}  // namespace tessera

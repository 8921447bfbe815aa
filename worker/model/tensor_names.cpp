#include "worker/model/tensor_names.h"

namespace tessera {
namespace {

MlpNames mlp_names(const std::string& gate, const std::string& up, const std::string& down) {
  return {{gate + ".weight"}, {up + ".weight"}, {down + ".weight"}};
}

MlpNames mlp_names(const std::string& prefix) {
  return mlp_names(prefix + "gate_proj", prefix + "up_proj", prefix + "down_proj");
}

LayerNames llama_names(const std::string& layer) {
  LayerNames names;
  names.input_norm = layer + "input_layernorm";
  names.q = {layer + "self_attn.q_proj"};
  names.k = {layer + "self_attn.k_proj"};
  names.v = {layer + "self_attn.v_proj"};
  names.q_norm = layer + "self_attn.q_norm";
  names.k_norm = layer + "self_attn.k_norm";
  names.o = layer + "self_attn.o_proj";
  names.mlp_norm = layer + "post_attention_layernorm";
  names.mlp = mlp_names(layer + "mlp.");
  names.router = layer + "mlp.gate";
  names.experts = layer + "mlp.experts.";
  return names;
}

LayerNames llada_names(const std::string& layer) {
  LayerNames names;
  names.input_norm = layer + "attn_norm";
  names.q = {layer + "q_proj"};
  names.k = {layer + "k_proj"};
  names.v = {layer + "v_proj"};
  names.o = layer + "attn_out";
  names.mlp_norm = layer + "ff_norm";
  names.mlp = mlp_names(layer + "ff_proj", layer + "up_proj", layer + "ff_out");
  return names;
}

LayerNames llada2_names(const ModelSpec& spec, std::int32_t index, const std::string& layer) {
  const AttentionSpec& attention = spec.attention_of(index);
  LayerNames names = llama_names(layer);
  const std::string qkv = layer + "attention.query_key_value";
  names.q = {qkv, 0};
  names.k = {qkv, spec.q_size(attention)};
  names.v = {qkv, spec.q_size(attention) + attention.kv_size()};
  names.q_norm = layer + "attention.query_layernorm";
  names.k_norm = layer + "attention.key_layernorm";
  names.o = layer + "attention.dense";
  names.router_bias = layer + "mlp.gate.expert_bias";
  names.shared = mlp_names(layer + "mlp.shared_experts.");
  return names;
}

constexpr const char* kGemmaDecoder = "model.decoder.";
constexpr const char* kGemmaEncoder = "model.encoder.language_model.";

// Encoder and decoder share everything but the scalars.
LayerNames diffusion_gemma_names(const ModelSpec& spec, std::int32_t index) {
  const std::string number = "layers." + std::to_string(index) + ".";
  const std::string layer = kGemmaDecoder + number;
  LayerNames names = llama_names(layer);
  if (spec.attention_of(index).value_from_key) names.v = {};
  names.attention_out_norm = layer + "post_attention_layernorm";
  names.mlp_norm = layer + "pre_feedforward_layernorm";
  names.mlp_out_norm = layer + "post_feedforward_layernorm";
  names.router = layer + "router.proj";
  names.router_scale = layer + "router.scale";
  names.expert_scale = layer + "router.per_expert_scale";
  names.experts = layer + "experts.";
  names.dense_out_norm = layer + "post_feedforward_layernorm_1";
  names.experts_norm = layer + "pre_feedforward_layernorm_2";
  names.experts_out_norm = layer + "post_feedforward_layernorm_2";
  names.canvas_scalar = layer + "layer_scalar";
  names.encoder_scalar = kGemmaEncoder + number + "layer_scalar";
  return names;
}

class Declarations {
 public:
  void vector(const std::string& module, std::int64_t length) {
    tensors_.push_back({module + ".weight", {length}});
  }
  void bias(const std::string& module, std::int64_t length) {
    tensors_.push_back({module + ".bias", {length}});
  }
  void matrix(const std::string& module, std::int64_t out, std::int64_t in) {
    tensors_.push_back({module + ".weight", {out, in}});
  }
  void whole(const std::string& name, std::vector<std::int64_t> shape) {
    tensors_.push_back({name, std::move(shape)});
  }
  void mlp(const MlpNames& names, std::int64_t hidden, std::int64_t width) {
    whole(names.gate.tensor, {width, hidden});
    whole(names.up.tensor, {width, hidden});
    whole(names.down.tensor, {hidden, width});
  }
  std::vector<TensorDeclaration> take() { return std::move(tensors_); }

 private:
  std::vector<TensorDeclaration> tensors_;
};

void declare_qkv(const ModelSpec& spec,
                 const AttentionSpec& attention,
                 const LayerNames& names,
                 Declarations& tensors) {
  const std::int64_t q_size = spec.q_size(attention);
  const std::int64_t kv_size = attention.kv_size();
  const bool is_fused = names.q.module == names.v.module;
  const auto declare = [&](const std::string& module, std::int64_t rows) {
    tensors.matrix(module, rows, spec.hidden_size);
    if (spec.qkv_bias) tensors.bias(module, rows);
  };
  if (is_fused) return declare(names.q.module, q_size + 2 * kv_size);
  declare(names.q.module, q_size);
  declare(names.k.module, kv_size);
  if (!attention.value_from_key) declare(names.v.module, kv_size);
}

// Experts of one tensor: [experts, 2 width, hidden], gate rows first, and [experts, hidden, width].
void declare_experts(const ModelSpec& spec, const LayerNames& names, Declarations& tensors) {
  const MoeSpec& moe = spec.moe;
  tensors.matrix(names.router, moe.num_experts, spec.hidden_size);
  if (!names.router_bias.empty()) tensors.whole(names.router_bias, {moe.num_experts});
  if (moe.router == RouterKind::kOwnNorm) {
    tensors.whole(names.router_scale, {spec.hidden_size});
    tensors.whole(names.expert_scale, {moe.num_experts});
  }
  if (spec.layout == TensorLayout::kDiffusionGemma) {
    const MlpNames stacked = expert_names(spec, names, 0);
    tensors.whole(stacked.gate.tensor,
                  {moe.num_experts, 2 * std::int64_t{moe.intermediate_size}, spec.hidden_size});
    tensors.whole(stacked.down.tensor, {moe.num_experts, spec.hidden_size, moe.intermediate_size});
  } else {
    for (std::int32_t e = 0; e < moe.num_experts; ++e) {
      tensors.mlp(expert_names(spec, names, e), spec.hidden_size, moe.intermediate_size);
    }
  }
  if (moe.shared_intermediate_size > 0) {
    tensors.mlp(names.shared, spec.hidden_size, moe.shared_intermediate_size);
  }
}

void declare_layer(const ModelSpec& spec, std::int32_t layer, Declarations& tensors) {
  const LayerNames names = layer_names(spec, layer);
  const AttentionSpec& attention = spec.attention_of(layer);
  const std::int64_t hidden = spec.hidden_size;
  tensors.vector(names.input_norm, hidden);
  declare_qkv(spec, attention, names, tensors);
  if (spec.qk_norm) {
    tensors.vector(names.q_norm, attention.head_dim);
    tensors.vector(names.k_norm, attention.head_dim);
  }
  tensors.matrix(names.o, hidden, spec.q_size(attention));
  tensors.vector(names.mlp_norm, hidden);
  if (spec.output_norms) {
    tensors.vector(names.attention_out_norm, hidden);
    tensors.vector(names.mlp_out_norm, hidden);
  }
  const bool is_moe = spec.moe.is_moe(layer);
  if (is_moe) declare_experts(spec, names, tensors);
  if (!is_moe || spec.moe.beside_dense) tensors.mlp(names.mlp, hidden, spec.intermediate_size);
  if (is_moe && spec.moe.beside_dense) {
    for (const std::string* norm :
         {&names.dense_out_norm, &names.experts_norm, &names.experts_out_norm}) {
      tensors.vector(*norm, hidden);
    }
  }
  if (spec.layer_scalars) {
    tensors.whole(names.encoder_scalar, {1});
    tensors.whole(names.canvas_scalar, {1});
  }
}

}  // namespace

LayerNames layer_names(const ModelSpec& spec, std::int32_t layer) {
  const std::string number = std::to_string(layer) + ".";
  switch (spec.layout) {
    case TensorLayout::kLlada: return llada_names("model.transformer.blocks." + number);
    case TensorLayout::kLlada2: return llada2_names(spec, layer, "model.layers." + number);
    case TensorLayout::kDiffusionGemma: return diffusion_gemma_names(spec, layer);
    case TensorLayout::kLlama: break;
  }
  return llama_names("model.layers." + number);
}

MlpNames expert_names(const ModelSpec& spec, const LayerNames& names, std::int32_t expert) {
  if (spec.layout != TensorLayout::kDiffusionGemma) {
    return mlp_names(names.experts + std::to_string(expert) + ".");
  }
  const std::int64_t width = spec.moe.intermediate_size;
  const std::string gate_up = names.experts + "gate_up_proj";
  return {{gate_up, expert * 2 * width},
          {gate_up, expert * 2 * width + width},
          {names.experts + "down_proj", std::int64_t{expert} * spec.hidden_size}};
}

ModelNames model_names(TensorLayout layout) {
  ModelNames names{"model.embed_tokens", "model.norm", "lm_head", {}, {}};
  switch (layout) {
    case TensorLayout::kLlada:
      names.embedding = "model.transformer.wte";
      names.final_norm = "model.transformer.ln_f";
      names.lm_head = "model.transformer.ff_out";
      break;
    case TensorLayout::kLlada2: names.embedding = "model.word_embeddings"; break;
    case TensorLayout::kDiffusionGemma: {
      const std::string decoder = kGemmaDecoder;
      names.embedding = decoder + "embed_tokens";
      names.final_norm = decoder + "norm";
      names.conditioning_norm = decoder + "self_conditioning.pre_norm";
      names.conditioning = mlp_names(decoder + "self_conditioning.");
      break;
    }
    case TensorLayout::kLlama: break;
  }
  return names;
}

std::vector<TensorDeclaration> declare_tensors(const ModelSpec& spec) {
  const ModelNames names = model_names(spec.layout);
  Declarations tensors;
  tensors.matrix(names.embedding, spec.vocab_size, spec.hidden_size);
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    declare_layer(spec, layer, tensors);
  }
  tensors.vector(names.final_norm, spec.hidden_size);
  if (!spec.tie_word_embeddings) tensors.matrix(names.lm_head, spec.vocab_size, spec.hidden_size);
  if (spec.canvas_length) {
    tensors.vector(names.conditioning_norm, spec.hidden_size);
    tensors.mlp(names.conditioning, spec.hidden_size, spec.intermediate_size);
  }
  return tensors.take();
}

ExtraTensors extra_tensors(const ModelSpec& spec) {
  ExtraTensors extra;
  const ModelNames names = model_names(spec.layout);
  if (spec.tie_word_embeddings) {
    extra.repeated.push_back({names.lm_head + ".weight", names.embedding + ".weight"});
  }
  if (spec.layout != TensorLayout::kDiffusionGemma) return extra;
  // The decoder's tensors may be there again as the encoder's; what is of images is not read.
  extra.skipped_prefixes = {"model.encoder.vision_tower.", "model.encoder.embed_vision."};
  const std::string decoder = kGemmaDecoder;
  for (const TensorDeclaration& tensor : declare_tensors(spec)) {
    if (!tensor.name.starts_with(decoder) || tensor.name.ends_with("layer_scalar")) continue;
    extra.repeated.push_back({kGemmaEncoder + tensor.name.substr(decoder.size()), tensor.name});
  }
  return extra;
}

}  // namespace tessera

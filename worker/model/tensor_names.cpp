#include "worker/model/tensor_names.h"

namespace tessera {
namespace {

MlpNames mlp_names(const std::string& prefix) {
  return {prefix + "gate_proj", prefix + "up_proj", prefix + "down_proj"};
}

LayerNames llama_names(const std::string& layer) {
  return {.input_norm = layer + "input_layernorm",
          .q = {layer + "self_attn.q_proj"},
          .k = {layer + "self_attn.k_proj"},
          .v = {layer + "self_attn.v_proj"},
          .q_norm = layer + "self_attn.q_norm",
          .k_norm = layer + "self_attn.k_norm",
          .o = layer + "self_attn.o_proj",
          .post_norm = layer + "post_attention_layernorm",
          .mlp = mlp_names(layer + "mlp."),
          .router = layer + "mlp.gate",
          .router_bias = {},
          .experts = layer + "mlp.experts.",
          .shared = {}};
}

LayerNames llada_names(const std::string& layer) {
  return {.input_norm = layer + "attn_norm",
          .q = {layer + "q_proj"},
          .k = {layer + "k_proj"},
          .v = {layer + "v_proj"},
          .q_norm = layer + "q_norm",
          .k_norm = layer + "k_norm",
          .o = layer + "attn_out",
          .post_norm = layer + "ff_norm",
          .mlp = {layer + "ff_proj", layer + "up_proj", layer + "ff_out"},
          .router = {},
          .router_bias = {},
          .experts = {},
          .shared = {}};
}

LayerNames llada2_names(const ModelSpec& spec, const std::string& layer) {
  LayerNames names = llama_names(layer);
  const std::string qkv = layer + "attention.query_key_value";
  names.q = {qkv, 0};
  names.k = {qkv, spec.q_size()};
  names.v = {qkv, spec.q_size() + spec.kv_size()};
  names.q_norm = layer + "attention.query_layernorm";
  names.k_norm = layer + "attention.key_layernorm";
  names.o = layer + "attention.dense";
  names.router_bias = layer + "mlp.gate.expert_bias";
  names.shared = mlp_names(layer + "mlp.shared_experts.");
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
  void whole(const std::string& name, std::int64_t length) { tensors_.push_back({name, {length}}); }
  void mlp(const MlpNames& names, std::int64_t hidden, std::int64_t width) {
    matrix(names.gate, width, hidden);
    matrix(names.up, width, hidden);
    matrix(names.down, hidden, width);
  }
  std::vector<TensorDeclaration> take() { return std::move(tensors_); }

 private:
  std::vector<TensorDeclaration> tensors_;
};

void declare_qkv(const ModelSpec& spec, const LayerNames& names, Declarations& tensors) {
  const bool is_fused = names.q.module == names.v.module;
  const auto declare = [&](const std::string& module, std::int64_t rows) {
    tensors.matrix(module, rows, spec.hidden_size);
    if (spec.qkv_bias) tensors.bias(module, rows);
  };
  if (is_fused) return declare(names.q.module, spec.q_size() + 2 * std::int64_t{spec.kv_size()});
  declare(names.q.module, spec.q_size());
  declare(names.k.module, spec.kv_size());
  declare(names.v.module, spec.kv_size());
}

void declare_experts(const ModelSpec& spec, const LayerNames& names, Declarations& tensors) {
  const MoeSpec& moe = spec.moe;
  tensors.matrix(names.router, moe.num_experts, spec.hidden_size);
  if (!names.router_bias.empty()) tensors.whole(names.router_bias, moe.num_experts);
  for (std::int32_t e = 0; e < moe.num_experts; ++e) {
    tensors.mlp(expert_names(names, e), spec.hidden_size, moe.intermediate_size);
  }
  if (moe.shared_intermediate_size > 0) {
    tensors.mlp(names.shared, spec.hidden_size, moe.shared_intermediate_size);
  }
}

void declare_layer(const ModelSpec& spec, std::int32_t layer, Declarations& tensors) {
  const LayerNames names = layer_names(spec, layer);
  const std::int64_t hidden = spec.hidden_size;
  tensors.vector(names.input_norm, hidden);
  declare_qkv(spec, names, tensors);
  if (spec.qk_norm) {
    tensors.vector(names.q_norm, spec.head_dim);
    tensors.vector(names.k_norm, spec.head_dim);
  }
  tensors.matrix(names.o, hidden, spec.q_size());
  tensors.vector(names.post_norm, hidden);
  if (spec.moe.is_moe(layer)) {
    declare_experts(spec, names, tensors);
  } else {
    tensors.mlp(names.mlp, hidden, spec.intermediate_size);
  }
}

}  // namespace

LayerNames layer_names(const ModelSpec& spec, std::int32_t layer) {
  const std::string number = std::to_string(layer) + ".";
  switch (spec.layout) {
    case TensorLayout::kLlada: return llada_names("model.transformer.blocks." + number);
    case TensorLayout::kLlada2: return llada2_names(spec, "model.layers." + number);
    case TensorLayout::kLlama: break;
  }
  return llama_names("model.layers." + number);
}

MlpNames expert_names(const LayerNames& names, std::int32_t expert) {
  return mlp_names(names.experts + std::to_string(expert) + ".");
}

ModelNames model_names(TensorLayout layout) {
  if (layout == TensorLayout::kLlada) {
    return {"model.transformer.wte", "model.transformer.ln_f", "model.transformer.ff_out"};
  }
  const bool is_llada2 = layout == TensorLayout::kLlada2;
  return {is_llada2 ? "model.word_embeddings" : "model.embed_tokens", "model.norm", "lm_head"};
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
  return tensors.take();
}

}  // namespace tessera

#include "worker/model/tensor_names.h"

namespace tessera {
namespace {

LayerNames llama_names(const std::string& layer) {
  return {.input_norm = layer + "input_layernorm",
          .q = layer + "self_attn.q_proj",
          .k = layer + "self_attn.k_proj",
          .v = layer + "self_attn.v_proj",
          .q_norm = layer + "self_attn.q_norm",
          .k_norm = layer + "self_attn.k_norm",
          .o = layer + "self_attn.o_proj",
          .post_norm = layer + "post_attention_layernorm",
          .gate = layer + "mlp.gate_proj",
          .up = layer + "mlp.up_proj",
          .down = layer + "mlp.down_proj"};
}

LayerNames llada_names(const std::string& layer) {
  return {.input_norm = layer + "attn_norm",
          .q = layer + "q_proj",
          .k = layer + "k_proj",
          .v = layer + "v_proj",
          .q_norm = layer + "q_norm",
          .k_norm = layer + "k_norm",
          .o = layer + "attn_out",
          .post_norm = layer + "ff_norm",
          .gate = layer + "ff_proj",
          .up = layer + "up_proj",
          .down = layer + "ff_out"};
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
  std::vector<TensorDeclaration> take() { return std::move(tensors_); }

 private:
  std::vector<TensorDeclaration> tensors_;
};

void declare_layer(const ModelSpec& spec, const LayerNames& names, Declarations& tensors) {
  const std::int64_t hidden = spec.hidden_size;
  tensors.vector(names.input_norm, hidden);
  tensors.matrix(names.q, spec.q_size(), hidden);
  tensors.matrix(names.k, spec.kv_size(), hidden);
  tensors.matrix(names.v, spec.kv_size(), hidden);
  if (spec.qkv_bias) {
    tensors.bias(names.q, spec.q_size());
    tensors.bias(names.k, spec.kv_size());
    tensors.bias(names.v, spec.kv_size());
  }
  if (spec.qk_norm) {
    tensors.vector(names.q_norm, spec.head_dim);
    tensors.vector(names.k_norm, spec.head_dim);
  }
  tensors.matrix(names.o, hidden, spec.q_size());
  tensors.vector(names.post_norm, hidden);
  tensors.matrix(names.gate, spec.intermediate_size, hidden);
  tensors.matrix(names.up, spec.intermediate_size, hidden);
  tensors.matrix(names.down, hidden, spec.intermediate_size);
}

}  // namespace

LayerNames layer_names(TensorLayout layout, std::int32_t layer) {
  const std::string number = std::to_string(layer);
  return layout == TensorLayout::kLlada ? llada_names("model.transformer.blocks." + number + ".")
                                        : llama_names("model.layers." + number + ".");
}

ModelNames model_names(TensorLayout layout) {
  return layout == TensorLayout::kLlada
             ? ModelNames{"model.transformer.wte", "model.transformer.ln_f",
                          "model.transformer.ff_out"}
             : ModelNames{"model.embed_tokens", "model.norm", "lm_head"};
}

std::vector<TensorDeclaration> declare_tensors(const ModelSpec& spec) {
  const ModelNames names = model_names(spec.layout);
  Declarations tensors;
  tensors.matrix(names.embedding, spec.vocab_size, spec.hidden_size);
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    declare_layer(spec, layer_names(spec.layout, layer), tensors);
  }
  tensors.vector(names.final_norm, spec.hidden_size);
  if (!spec.tie_word_embeddings) tensors.matrix(names.lm_head, spec.vocab_size, spec.hidden_size);
  return tensors.take();
}

}  // namespace tessera

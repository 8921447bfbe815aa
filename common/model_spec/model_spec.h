#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/model_facts.h"
#include "common/tensor/activation.h"

namespace tessera {

/// Names and shapes of the tensors in a checkpoint; one name map in worker/model per entry.
enum class TensorLayout : std::uint8_t {
  kLlama,   ///< model.layers.N.self_attn.q_proj.weight: Qwen2, Qwen3 and Llama descendants
  kLlada,   ///< model.transformer.blocks.N.q_proj.weight
  kLlada2,  ///< model.layers.N.attention.query_key_value.weight: query, key and value in one
  kDiffusionGemma,  ///< model.decoder.layers.N.*: experts in one tensor, two scalars of a layer
};

/// How a token chooses its experts from g = W_router a, and their weights.
enum class RouterKind : std::uint8_t {
  kSoftmax,         ///< the experts_per_token largest of p = softmax(g), weights p
  kGroupedSigmoid,  ///< s = sigmoid(g), r = s + bias; of the groups_per_token groups with the
                    ///< largest sum of their two best r, the experts_per_token largest r, weights s
  kOwnNorm,         ///< kSoftmax of g = W_router (scale rms_norm(x) / sqrt(hidden)), x the residual
                    ///< stream; weights are multiplied by a learned scale of every expert
};

/// Layers whose MLP is a mixture of experts: y = sum over chosen e of w_e mlp_e(m) + shared(m).
struct MoeSpec {
  std::vector<bool> layers;  ///< Whether layer i is one; empty: none is.
  RouterKind router = RouterKind::kSoftmax;
  std::int32_t num_experts = 0;
  std::int32_t experts_per_token = 0;
  std::int32_t intermediate_size = 0;         ///< Of one expert.
  std::int32_t shared_intermediate_size = 0;  ///< Of the shared experts together; 0: none.
  bool normalise = true;              ///< Weights of the chosen experts are made to sum to 1.
  double scale = 1.0;                 ///< Then multiplied by this.
  std::int32_t num_groups = 1;        ///< kGroupedSigmoid
  std::int32_t groups_per_token = 1;  ///< kGroupedSigmoid
  /// The layer has its dense MLP as well: y = rms_norm(mlp(rms_norm(x))) + rms_norm(experts(
  /// rms_norm(x))), all four norms with weights of their own.
  bool beside_dense = false;

  bool is_moe(std::int32_t layer) const {
    return !layers.empty() && layers[static_cast<std::size_t>(layer)];
  }
  bool operator==(const MoeSpec&) const = default;
};

/// Rotary embedding: the leading `width` dims of a head rotate in pairs (j, j + width / 2) by the
/// angle position * theta^(-2 j / width); the last `num_still_pairs` pairs do not turn.
struct RopeSpec {
  double theta = 10000.0;
  std::int32_t width = 0;  ///< Even, <= head_dim.
  std::int32_t num_still_pairs = 0;

  bool operator==(const RopeSpec&) const = default;
};

/// How the layers of one kind attend.
struct AttentionSpec {
  std::int32_t num_kv_heads = 0;  ///< Divides num_q_heads.
  std::int32_t head_dim = 0;      ///< num_q_heads * head_dim need not be hidden_size.
  RopeSpec rope = {};
  float scale = 1.0F;  ///< Of the scores q k; head_dim^-0.5 in most models.
  /// > 0: row i sees j only if i - j < window. The rows of a canvas see all of each other, and of
  /// what lies before it the last window - 1 positions.
  std::int32_t window = 0;
  bool value_from_key = false;  ///< No value projection: the raw keys are the values, too.

  std::int32_t kv_size() const { return num_kv_heads * head_dim; }
  bool operator==(const AttentionSpec&) const = default;
};

/// A decoder described by data. Every family has the same skeleton:
///
///     x = embedding_scale E[token]
///     per layer: x += O attention(rope(qk_norm(Q a, K a)), V a) with a = rms_norm(x)
///                x += down(act(gate m) * up m)                 with m = rms_norm(x)
///     logits = head rms_norm(x)
///
/// and differs in what this struct says. Linear weights are [out, in].
struct ModelSpec {
  std::string family;  ///< "sdar", ...: the entry of the table that read it.
  TensorLayout layout = TensorLayout::kLlama;

  std::int32_t hidden_size = 0;
  std::int32_t num_layers = 0;
  std::int32_t num_q_heads = 0;
  std::vector<AttentionSpec> attention_kinds;  ///< At least one.
  std::vector<std::int32_t> layer_kinds;       ///< Index of every layer's kind; empty: all 0.
  std::int32_t intermediate_size = 0;          ///< Of the MLP that is no expert.
  Activation activation = Activation::kSilu;
  MoeSpec moe;
  std::int32_t vocab_size = 0;  ///< Rows of the embedding and of the head.
  float rms_norm_eps = 1e-6F;
  bool qkv_bias = false;    ///< On the query, key and value projections; no other has one.
  bool qk_norm = false;     ///< RMS norm of every query and key head before rotation.
  bool value_norm = false;  ///< RMS norm without a weight of every value head.
  /// RMS norms multiply by their weight in fp32 and round once; else they round before and after.
  bool norms_round_once = false;
  bool output_norms = false;   ///< RMS norm of what attention and the MLP add to x.
  bool layer_scalars = false;  ///< x is multiplied by a learned number after every layer: one for
                               ///< rows that are encoded, another for those of a canvas.
  float embedding_scale = 1.0F;
  float logit_softcap = 0.0F;  ///< > 0: logits l become softcap tanh(l / softcap).
  bool tie_word_embeddings = false;
  std::int32_t max_position_embeddings = 0;

  std::optional<TrainedAttention> attention;
  bool shifted = false;             ///< The token at q is predicted by the row at q - 1.
  std::int32_t tokenizer_size = 0;  ///< Largest token id + 1; vocab_size if no file says.
  std::optional<TokenId> mask_id;
  std::vector<TokenId> eos_ids;  ///< Ascending.
  std::optional<std::int32_t> block_size;
  /// Rows of a canvas. Models that have one condition it on the softmax of the step before:
  /// x = rms_norm(x + mlp(rms_norm(softmax(z) E))), with intermediate_size, in front of the layers.
  std::optional<std::int32_t> canvas_length;

  std::size_t kind_of(std::int32_t layer) const {
    return layer_kinds.empty() ? 0 : static_cast<std::size_t>(layer_kinds[std::size_t(layer)]);
  }
  const AttentionSpec& attention_of(std::int32_t layer) const {
    return attention_kinds[kind_of(layer)];
  }
  std::int32_t q_size(const AttentionSpec& kind) const { return num_q_heads * kind.head_dim; }
};

/// What decoding strategies must know about the model.
ModelFacts facts_of(const ModelSpec& spec);

/// Reads config.json and, where they exist, generation_config.json, tokenizer.json,
/// tokenizer_config.json, special_tokens_map.json and added_tokens.json of a model directory.
///
/// Strict: a field of the wrong type or out of range, a missing field and a switch that changes
/// the computation in a way not implemented here are errors that name field and value.
/// @throws Error{kInvalidArgument}
ModelSpec read_model_spec(const std::filesystem::path& model_dir);

}  // namespace tessera

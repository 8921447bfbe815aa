#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/model_facts.h"

namespace tessera {

/// Names and shapes of the tensors in a checkpoint; one name map in worker/model per entry.
enum class TensorLayout : std::uint8_t {
  kLlama,   ///< model.layers.N.self_attn.q_proj.weight: Qwen2, Qwen3 and Llama descendants
  kLlada,   ///< model.transformer.blocks.N.q_proj.weight
  kLlada2,  ///< model.layers.N.attention.query_key_value.weight: query, key and value in one
};

/// How a token chooses its experts from g = W_router a, and their weights.
enum class RouterKind : std::uint8_t {
  kSoftmax,         ///< the experts_per_token largest of p = softmax(g), weights p
  kGroupedSigmoid,  ///< s = sigmoid(g), r = s + bias; of the groups_per_token groups with the
                    ///< largest sum of their two best r, the experts_per_token largest r, weights s
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

  bool is_moe(std::int32_t layer) const {
    return !layers.empty() && layers[static_cast<std::size_t>(layer)];
  }
  bool operator==(const MoeSpec&) const = default;
};

/// Rotary embedding: the leading `width` dims of a head rotate in pairs (j, j + width / 2) by the
/// angle position * theta^(-2 j / width).
struct RopeSpec {
  double theta = 10000.0;
  std::int32_t width = 0;  ///< Even, <= head_dim.

  bool operator==(const RopeSpec&) const = default;
};

/// A decoder described by data. Every family supported so far has the same skeleton:
///
///     x = E[token]
///     per layer: x += O attention(rope(qk_norm(Q a, K a)), V a) with a = rms_norm(x)
///                x += down(silu(gate m) * up m)                with m = rms_norm(x)
///     logits = head rms_norm(x)
///
/// and differs in what this struct says. Linear weights are [out, in].
struct ModelSpec {
  std::string family;  ///< "sdar", ...: the entry of the table that read it.
  TensorLayout layout = TensorLayout::kLlama;

  std::int32_t hidden_size = 0;
  std::int32_t num_layers = 0;
  std::int32_t num_q_heads = 0;
  std::int32_t num_kv_heads = 0;       ///< Divides num_q_heads.
  std::int32_t head_dim = 0;           ///< num_q_heads * head_dim need not be hidden_size.
  std::int32_t intermediate_size = 0;  ///< Of layers without experts.
  MoeSpec moe;
  std::int32_t vocab_size = 0;  ///< Rows of the embedding and of the head.
  float rms_norm_eps = 1e-6F;
  RopeSpec rope;
  bool qkv_bias = false;  ///< On the query, key and value projections; no other has one.
  bool qk_norm = false;   ///< RMS norm of every query and key head before rotation.
  bool tie_word_embeddings = false;
  std::int32_t max_position_embeddings = 0;

  std::optional<TrainedAttention> attention;
  bool shifted = false;             ///< The token at q is predicted by the row at q - 1.
  std::int32_t tokenizer_size = 0;  ///< Largest token id + 1; vocab_size if no file says.
  std::optional<TokenId> mask_id;
  std::vector<TokenId> eos_ids;  ///< Ascending.
  std::optional<std::int32_t> block_size;

  std::int32_t q_size() const { return num_q_heads * head_dim; }
  std::int32_t kv_size() const { return num_kv_heads * head_dim; }
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

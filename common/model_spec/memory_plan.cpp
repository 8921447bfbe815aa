#include "common/model_spec/memory_plan.h"

#include <algorithm>

namespace tessera {
namespace {

// Gate, up and down of every expert and of the shared ones, and the router, which every rank has.
std::int64_t expert_elements(const ModelSpec& spec, const RankShard& shard) {
  const MoeSpec& moe = spec.moe;
  const std::int64_t width = shard.experts.size() * shard.expert.size() + shard.shared.size();
  return spec.hidden_size * (3 * width + moe.num_experts) + moe.num_experts;
}

std::int64_t layer_elements(const ModelSpec& spec, const RankShard& shard, std::int32_t layer) {
  const std::int64_t hidden = spec.hidden_size;
  const std::int64_t qkv_rows = shard.q.size() + 2 * shard.kv.size();
  std::int64_t elements = hidden * (qkv_rows + shard.attention.size());
  elements += spec.moe.is_moe(layer) ? expert_elements(spec, shard)
                                     : 3 * hidden * shard.intermediate.size();
  elements += 2 * hidden;  // norms
  if (spec.qk_norm) elements += 2 * std::int64_t{spec.head_dim};
  if (spec.qkv_bias) elements += qkv_rows;
  return elements;
}

// Residual stream, normed row and reduced row of the hidden size; queries, keys, values and
// attention output; gate, up and their product; with experts, their input and product for every
// expert of the token, all of which may be on one rank.
std::int64_t row_elements(const ModelSpec& spec, const RankShard& shard) {
  const std::int64_t hidden = spec.hidden_size;
  const std::int64_t of_experts =
      spec.moe.experts_per_token * (hidden + shard.expert.size()) + shard.shared.size();
  return 3 * hidden + 2 * shard.q.size() + 2 * shard.kv.size() +
         std::max(3 * shard.intermediate.size(), of_experts);
}

}  // namespace

MemoryPlan plan_memory(const ModelSpec& spec, const MemoryPlanInput& input) {
  const RankShard shard = shard_of(spec, /*rank=*/0, input.tp, input.experts);
  const std::int64_t vocab_matrices = spec.tie_word_embeddings ? 1 : 2;
  std::int64_t elements = spec.hidden_size + vocab_matrices * shard.vocab.size() * spec.hidden_size;
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    elements += layer_elements(spec, shard, layer);
  }
  MemoryPlan plan;
  plan.weights = elements * input.weight_bytes;
  plan.kv_per_token = std::int64_t{2} * spec.num_layers * shard.kv.size() * input.kv_bytes;
  plan.workspace = input.max_step_rows * row_elements(spec, shard) * input.activation_bytes +
                   input.max_logit_rows * shard.vocab.size() * std::int64_t{sizeof(float)};
  plan.kv_copies = std::max(1, input.tp / spec.num_kv_heads);
  return plan;
}

}  // namespace tessera

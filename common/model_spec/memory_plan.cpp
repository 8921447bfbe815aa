#include "common/model_spec/memory_plan.h"

#include <algorithm>

namespace tessera {
namespace {

constexpr std::int64_t kFloat = 4;

// Gate, up and down of every expert and of the shared ones, and the router, which every rank has.
std::int64_t expert_elements(const ModelSpec& spec, const RankShard& shard) {
  const MoeSpec& moe = spec.moe;
  const std::int64_t width = shard.experts.size() * shard.expert.size() + shard.shared.size();
  const std::int64_t own_norm = moe.router == RouterKind::kOwnNorm ? spec.hidden_size : 0;
  return spec.hidden_size * (3 * width + moe.num_experts) + moe.num_experts + own_norm;
}

std::int64_t layer_elements(const ModelSpec& spec, const RankShard& shard, std::int32_t layer) {
  const std::int64_t hidden = spec.hidden_size;
  const AttentionSpec& kind = spec.attention_of(layer);
  const AttentionShard& attention = shard.attention_of(spec, layer);
  const std::int64_t kv_parts = kind.value_from_key ? 1 : 2;
  const std::int64_t qkv_rows = attention.q.size() + kv_parts * attention.kv.size();
  const bool is_moe = spec.moe.is_moe(layer);
  const bool both = is_moe && spec.moe.beside_dense;
  std::int64_t elements = hidden * (qkv_rows + attention.attention.size());
  if (is_moe) elements += expert_elements(spec, shard);
  if (!is_moe || both) elements += 3 * hidden * shard.intermediate.size();
  elements += hidden * (2 + (spec.output_norms ? 2 : 0) + (both ? 3 : 0));  // norms
  if (spec.qk_norm) elements += 2 * std::int64_t{kind.head_dim};
  if (spec.qkv_bias) elements += qkv_rows;
  if (spec.layer_scalars) elements += 2;
  return elements;
}

std::int64_t weight_elements(const ModelSpec& spec, const RankShard& shard) {
  const std::int64_t hidden = spec.hidden_size;
  const std::int64_t vocab_matrices = spec.tie_word_embeddings ? 1 : 2;
  std::int64_t elements = hidden + vocab_matrices * shard.vocab.size() * hidden;
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    elements += layer_elements(spec, shard, layer);
  }
  if (spec.canvas_length) elements += hidden + 3 * hidden * shard.intermediate.size();
  return elements;
}

// Bytes of a step of `rows` rows. Rows of fp32: the residual stream and what is added to it, the
// products of a GEMM; of elements: what a GEMM or attention reads.
class Workspace {
 public:
  Workspace(const ModelSpec& spec, const RankShard& shard, const MemoryPlanInput& input)
      : spec_(spec),
        shard_(shard),
        input_(input),
        rows_(input.max_step_rows),
        group_(input.on_gpu ? rows_ : std::min(rows_, kRowGroup)),
        element_(input.element_bytes) {}

  std::int64_t bytes() const {
    if (rows_ == 0) return 0;
    return rows_ * spec_.hidden_size * (2 * kFloat + element_) + attention() +
           group_ * shard_.intermediate.size() * (2 * kFloat + element_) + experts() + rope() +
           measurement() + canvases();
  }

 private:
  std::int64_t attention() const {
    std::int64_t q = 0;
    std::int64_t kv = 0;
    std::int64_t qkv = 0;
    std::int64_t outputs = 0;
    for (const AttentionShard& kind : shard_.attention_kinds) {
      q = std::max(q, kind.q.size());
      kv = std::max(kv, kind.kv.size());
      qkv = std::max(qkv, kind.q.size() + 2 * kind.kv.size());
      outputs += kind.attention.size();
    }
    return group_ * qkv * kFloat + rows_ * (q + 2 * kv + outputs) * element_;
  }

  // A row's input and product once for every expert of it, all of which may be on one rank.
  std::int64_t experts() const {
    const MoeSpec& moe = spec_.moe;
    if (std::ranges::find(moe.layers, true) == moe.layers.end()) return 0;
    const std::int64_t routed = rows_ * moe.experts_per_token;
    const std::int64_t slots = routed + (moe.shared_intermediate_size > 0 ? rows_ : 0);
    const std::int64_t widest = std::max(shard_.expert.size(), shard_.shared.size());
    std::int64_t bytes = rows_ * moe.num_experts * kFloat + routed * 2 * kFloat;
    if (moe.beside_dense) bytes += rows_ * spec_.hidden_size * kFloat;
    // The reference back end takes one expert and row at a time.
    if (element_ == kFloat) return bytes;
    return bytes + (routed * spec_.hidden_size + slots * widest) * element_;
  }

  std::int64_t rope() const {
    std::int64_t width = 0;
    for (const AttentionSpec& kind : spec_.attention_kinds) width += kind.rope.width;
    return input_.max_model_len * width * kFloat;
  }

  std::int64_t measurement() const {
    const std::int64_t logits_rows =
        std::max(std::min(rows_, kLogitsGroup),
                 std::min(std::int64_t{spec_.canvas_length.value_or(0)}, kCanvasGroup));
    return std::min(rows_, kRowGroup) * spec_.hidden_size * (kFloat + element_) +
           logits_rows * shard_.vocab.size() * kFloat;
  }

  // What every sequence's is conditioned on, a copy of it for the step, and probabilities.
  std::int64_t canvases() const {
    const std::int64_t length = spec_.canvas_length.value_or(0);
    if (length == 0) return 0;
    return (input_.max_sequences * length + rows_) * spec_.hidden_size * kFloat +
           std::min(length, kCanvasGroup) * shard_.vocab.size() * element_;
  }

  const ModelSpec& spec_;
  const RankShard& shard_;
  const MemoryPlanInput& input_;
  std::int64_t rows_;
  std::int64_t group_;
  std::int64_t element_;
};

}  // namespace

MemoryPlan plan_memory(const ModelSpec& spec, const MemoryPlanInput& input) {
  const RankShard shard = shard_of(spec, /*rank=*/0, input.tp, input.experts);
  MemoryPlan plan;
  plan.weights = weight_elements(spec, shard) * input.element_bytes;
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    const std::int64_t bytes = 2 * shard.attention_of(spec, layer).kv.size() * input.element_bytes;
    plan.kv_per_token += bytes;
    if (spec.attention_of(layer).window > 0) plan.windowed_kv_per_token += bytes;
  }
  plan.workspace = Workspace(spec, shard, input).bytes();
  for (const AttentionSpec& kind : spec.attention_kinds) {
    plan.kv_copies = std::max(plan.kv_copies, input.tp / kind.num_kv_heads);
  }
  return plan;
}

}  // namespace tessera

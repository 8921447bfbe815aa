#include "common/model_spec/sharding.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"
#include "common/tensor/padding.h"

namespace tessera {
namespace {

bool has_experts(const ModelSpec& spec) {
  return spec.moe.num_experts > 0;
}

bool is_legal(const ModelSpec& spec, std::int32_t tp, ExpertSharding experts) {
  if (experts == ExpertSharding::kByExpert) {
    if (!has_experts(spec) || spec.moe.num_experts % tp != 0) return false;
  }
  if (spec.num_q_heads % tp != 0) return false;
  return std::ranges::all_of(spec.attention_kinds, [&](const AttentionSpec& kind) {
    if (kind.num_kv_heads % tp != 0 && tp % kind.num_kv_heads != 0) return false;
    return tp == 1 || padded_reduction(spec.q_size(kind)) == spec.q_size(kind);
  });
}

IndexRange part_of(std::int64_t padded, std::int32_t rank, std::int32_t tp) {
  return {padded / tp * rank, padded / tp * (rank + 1)};
}

AttentionShard attention_shard_of(const ModelSpec& spec,
                                  const AttentionSpec& kind,
                                  std::int32_t rank,
                                  std::int32_t tp) {
  AttentionShard shard;
  shard.num_kv_heads = std::max(1, kind.num_kv_heads / tp);
  shard.first_kv_head = static_cast<std::int32_t>(std::int64_t{rank} * kind.num_kv_heads / tp);
  shard.q = part_of(spec.q_size(kind), rank, tp);
  shard.attention = part_of(padded_reduction(spec.q_size(kind)), rank, tp);
  const std::int64_t head_dim = kind.head_dim;
  shard.kv = {shard.first_kv_head * head_dim,
              (shard.first_kv_head + shard.num_kv_heads) * head_dim};
  return shard;
}

std::string kv_heads_text(const ModelSpec& spec) {
  std::string text;
  for (const AttentionSpec& kind : spec.attention_kinds) {
    text += (text.empty() ? "" : " or ") + std::to_string(kind.num_kv_heads);
  }
  return text;
}

}  // namespace

std::vector<std::int32_t> legal_tp_degrees(const ModelSpec& spec, ExpertSharding experts) {
  std::vector<std::int32_t> legal;
  for (const std::int32_t tp : {1, 2, 4, 8}) {
    if (is_legal(spec, tp, experts)) legal.push_back(tp);
  }
  return legal;
}

void require_legal_tp(const ModelSpec& spec, std::int32_t tp, ExpertSharding experts) {
  const bool by_expert = experts == ExpertSharding::kByExpert;
  TESSERA_REQUIRE(!by_expert || has_experts(spec),
                  "expert_parallel: this model has no experts to divide; leave it off");
  const std::vector<std::int32_t> legal = legal_tp_degrees(spec, experts);
  if (std::find(legal.begin(), legal.end(), tp) != legal.end()) return;
  std::string list;
  for (const std::int32_t degree : legal)
    list += (list.empty() ? "" : ", ") + std::to_string(degree);
  TESSERA_REQUIRE(
      false, "tensor-parallel degree ", tp, " is not legal for ", spec.num_q_heads, " query heads",
      by_expert ? ", " : " and ", kv_heads_text(spec), " key/value heads",
      by_expert ? detail::concat(" and, with expert_parallel, ", spec.moe.num_experts, " experts")
                : std::string(),
      "; legal are ", list);
}

RankShard shard_of(const ModelSpec& spec,
                   std::int32_t rank,
                   std::int32_t tp,
                   ExpertSharding experts) {
  require_legal_tp(spec, tp, experts);
  TESSERA_CHECK(rank >= 0 && rank < tp, "rank ", rank, " of ", tp);
  RankShard shard;
  shard.rank = rank;
  shard.tp = tp;
  shard.num_q_heads = spec.num_q_heads / tp;
  for (const AttentionSpec& kind : spec.attention_kinds) {
    shard.attention_kinds.push_back(attention_shard_of(spec, kind, rank, tp));
  }
  shard.intermediate = part_of(padded_reduction(spec.intermediate_size), rank, tp);
  shard.expert_sharding = experts;
  const bool by_width = experts == ExpertSharding::kByWidth;
  const std::int64_t num_experts = spec.moe.num_experts;
  const std::int64_t expert_width = padded_reduction(spec.moe.intermediate_size);
  shard.experts = by_width ? IndexRange{0, num_experts} : part_of(num_experts, rank, tp);
  shard.expert = by_width ? part_of(expert_width, rank, tp) : IndexRange{0, expert_width};
  shard.shared = part_of(padded_reduction(spec.moe.shared_intermediate_size), rank, tp);
  shard.vocab = part_of(padded_vocabulary(spec.vocab_size), rank, tp);
  return shard;
}

}  // namespace tessera

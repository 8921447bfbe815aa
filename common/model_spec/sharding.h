#pragma once

#include <cstdint>
#include <vector>

#include "common/model_spec/model_spec.h"

namespace tessera {

/// Half-open range of rows or columns of a tensor.
struct IndexRange {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  std::int64_t size() const { return end - begin; }
  bool operator==(const IndexRange&) const = default;
};

/// How ranks divide the routed experts. The two differ in the bits of results; each gives the same
/// bits on any number of ranks.
enum class ExpertSharding : std::uint8_t {
  kByWidth,   ///< Every rank has a part of the intermediate width of every expert.
  kByExpert,  ///< Every rank has num_experts / tp whole experts; shared ones are cut by width.
};

/// What one rank holds of the layers of one kind (ModelSpec::attention_kinds).
struct AttentionShard {
  std::int32_t num_kv_heads = 0;  ///< At least 1: with fewer KV heads than ranks they are copied.
  std::int32_t first_kv_head = 0;
  IndexRange q;          ///< Rows of q_proj: whole heads.
  IndexRange attention;  ///< Columns of o_proj: q, padded.
  IndexRange kv;         ///< Rows of k_proj and v_proj: whole heads.
};

/// What one rank of a tensor-parallel group holds. Dimensions that ranks sum over are padded
/// (common/tensor/padding.h), so the end of a range may lie beyond the real size.
struct RankShard {
  std::int32_t rank = 0;
  std::int32_t tp = 1;
  std::int32_t num_q_heads = 0;
  std::vector<AttentionShard> attention_kinds;
  IndexRange intermediate;  ///< Rows of gate and up, columns of down.
  ExpertSharding expert_sharding = ExpertSharding::kByWidth;
  IndexRange experts;  ///< The routed experts it has a part of.
  IndexRange expert;   ///< Rows of gate and up, columns of down of these; or empty.
  IndexRange shared;   ///< Likewise of the shared experts; empty without.
  IndexRange vocab;    ///< Rows of the embedding and of the head.

  const AttentionShard& attention_of(const ModelSpec& spec, std::int32_t layer) const {
    return attention_kinds[spec.kind_of(layer)];
  }
};

/// The degrees of {1, 2, 4, 8} at which this model can run: query heads divisible by tp, and KV
/// heads of every kind of layer divisible by tp or tp by KV heads. Beyond tp 1, num_q_heads *
/// head_dim must also be a multiple of 16, so that the boundaries of heads are boundaries of the
/// reduction tree. By expert, tp divides the number of routed experts; none is legal for a model
/// without.
std::vector<std::int32_t> legal_tp_degrees(const ModelSpec& spec,
                                           ExpertSharding experts = ExpertSharding::kByWidth);

/// @throws Error{kInvalidArgument} listing the legal degrees if `tp` is not one of them.
void require_legal_tp(const ModelSpec& spec,
                      std::int32_t tp,
                      ExpertSharding experts = ExpertSharding::kByWidth);

/// Share of rank `rank` of `tp`, which must be legal.
RankShard shard_of(const ModelSpec& spec,
                   std::int32_t rank,
                   std::int32_t tp,
                   ExpertSharding experts = ExpertSharding::kByWidth);

}  // namespace tessera

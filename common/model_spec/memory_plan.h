#pragma once

#include <cstdint>

#include "common/model_spec/model_spec.h"
#include "common/model_spec/sharding.h"

namespace tessera {

/// On hosts the widest rows of a step are made and used up in groups: enough rows to make a product
/// compute-bound, few enough that their workspaces stay in cache and small. Weights would be read
/// for each, which costs a GPU more: there all rows of a step are one group.
inline constexpr std::int64_t kRowGroup = 256;
/// Rows whose logits are stored at a time, 4 bytes for every id of the rank's vocabulary: filtered
/// ones, and those of a canvas, of which there are many at once.
inline constexpr std::int64_t kLogitsGroup = 32;
inline constexpr std::int64_t kCanvasGroup = 64;

/// What a memory plan is made for.
struct MemoryPlanInput {
  std::int32_t tp = 1;
  ExpertSharding experts = ExpertSharding::kByWidth;
  std::int32_t element_bytes = 2;  ///< Of weights, K/V and activations: 2, 4 (reference).
  bool on_gpu = false;
  std::int32_t max_step_rows = 0;
  std::int32_t max_sequences = 0;
  std::int32_t max_model_len = 0;
};

/// Bytes one rank needs. Every rank's share is the same up to padding; this is the largest.
struct MemoryPlan {
  std::int64_t weights = 0;
  std::int64_t kv_per_token = 0;  ///< K and V of all layers, copies of replicated heads included.
  std::int64_t windowed_kv_per_token =
      0;  ///< Of it, what layers with a window keep beyond it, too.
  /// What steps work in, rope tables and the canvases of all sequences included; not what a back
  /// end keeps for each of its threads.
  std::int64_t workspace = 0;
  std::int32_t kv_copies = 1;  ///< Ranks that hold the same KV head, at most.
};

/// @throws Error{kInvalidArgument} if the tensor-parallel degree is not legal for the model and
///         that way to divide its experts.
MemoryPlan plan_memory(const ModelSpec& spec, const MemoryPlanInput& input);

}  // namespace tessera

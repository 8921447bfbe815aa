#pragma once

#include <cstdint>

#include "common/model_spec/model_spec.h"
#include "common/model_spec/sharding.h"

namespace tessera {

/// What a memory plan is made for.
struct MemoryPlanInput {
  std::int32_t tp = 1;
  ExpertSharding experts = ExpertSharding::kByWidth;
  std::int32_t weight_bytes = 2;      ///< Per element: 2 for bf16 (cpu), 4 for fp32 (reference).
  std::int32_t kv_bytes = 2;          ///< Per element of the cache.
  std::int32_t activation_bytes = 4;  ///< Per element of a row inside a step.
  std::int32_t max_step_rows = 0;
  std::int32_t max_logit_rows = 0;  ///< Rows whose logits are kept at a time (top_p, top_k, ...).
};

/// Bytes one rank needs. Every rank's share is the same up to padding; this is the largest.
struct MemoryPlan {
  std::int64_t weights = 0;
  std::int64_t kv_per_token = 0;  ///< K and V of all layers, copies of replicated heads included.
  std::int64_t workspace = 0;     ///< Of a step with max_step_rows rows.
  std::int32_t kv_copies = 1;     ///< Ranks that hold the same KV head.
};

/// @throws Error{kInvalidArgument} if the tensor-parallel degree is not legal for the model and
///         that way to divide its experts.
MemoryPlan plan_memory(const ModelSpec& spec, const MemoryPlanInput& input);

}  // namespace tessera

#pragma once

#include "kernels/cuda/attention/attention_plan.h"
#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

// block_attention in three steps, for callers that run one plan in several layers, or launches that
// were recorded once with many plans: plan_attention() on the host, its arrays to the device, one
// launch_attention() a layer.

/// Counts that kernels read when they run.
struct PlanHeader {
  std::int32_t num_items = 0;
  std::int32_t num_merges = 0;
};

/// A plan on the device: every array begins on 16 bytes. What they hold may change between
/// launches, whatever was recorded.
struct StagedPlan {
  const PlanHeader* header = nullptr;
  const PlanItem* items = nullptr;
  const MergeItem* merges = nullptr;
  const PageId* page_table = nullptr;
  const Position* fresh_ends = nullptr;
  std::int64_t max_partials = 0;   ///< No plan that comes here has more num_partials. 0: no merge.
  std::int32_t tile_queries = 64;  ///< Of its PlanShape.
};

/// How to plan calls for this GPU and mode.
/// @param max_span_rows  No span has more rows.
PlanShape attention_plan_shape(const Context& context,
                               const KvPages& pages,
                               std::int32_t num_q_heads,
                               std::int64_t max_span_rows);

/// Copies a plan to the device; Context::stage() says how long it stays.
StagedPlan stage_plan(Context& context, const AttentionPlan& plan, const PlanShape& shape);

/// Scratch memory of a launch.
std::int64_t attention_scratch_bytes(const KvPages& pages, std::int64_t max_partials);

/// Runs a plan; args.spans are not read. No allocation, if the context's scratch memory is large
/// enough, and no wait: launches may be recorded.
void launch_attention(Context& context, const AttentionArgs& args, const StagedPlan& plan);

/// All of them. Contract: kernels/ops.h.
///
/// Floor: for each key seen, 4 num_kv_heads head_dim bytes of K and V, read once by all queries of
/// a tile (row x query head of a KV head, up to 128), against 4 head_dim num_q_heads operations for
/// each row that sees it. Bandwidth binds below about 250 queries a KV head on an H100, below 190
/// on an H200. Parts cost 8 head_dim bytes each way for a query of a part.
void block_attention(Context& context, const AttentionArgs& args);

}  // namespace tessera::kernels::cuda

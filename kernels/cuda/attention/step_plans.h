#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/cuda/attention/block_attention.h"

namespace tessera::kernels::cuda {

/// Plans of a step's attention, one for each kind of layer, in the step arrays.
class StepPlans {
 public:
  /// As Backend::reserve_attention_plans.
  std::int64_t reserve(const Context& context,
                       std::span<const AttentionArgs> kinds,
                       const AttentionRoom& room);

  /// As Backend::plan_attention.
  void make(Context& context, std::span<const AttentionArgs> kinds, const AttentionRoom* room);

  /// A plan on the device, once the step arrays were sent.
  /// @throws Error{kInvalidArgument} if make() had no such kind.
  StagedPlan staged(Context& context, std::int32_t kind) const;

 private:
  struct KindPlan {
    AttentionPlan plan;
    std::span<PlanHeader> header;
    std::span<PlanItem> items;
    std::span<MergeItem> merges;
    std::int64_t max_partials = 0;
    std::int32_t tile_queries = 0;
  };

  std::vector<KindPlan> kinds_;
  // Those of all kinds are equal.
  std::span<Position> fresh_ends_;
  std::span<PageId> page_table_;
};

}  // namespace tessera::kernels::cuda

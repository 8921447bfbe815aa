#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "worker/runtime/rank_executor.h"

namespace tessera {

/// A model of zero layers and no logits: every measurement is made up at once, so that what remains
/// of a step is the engine. A quarter of the masked positions is confident in each step.
class ZeroLayerExecutor final : public RankExecutor {
 public:
  using OnStep = std::function<void(std::uint64_t step)>;

  /// @param num_pages  KV pages that it pretends to have.
  /// @param on_begin, on_end  Called around each step.
  ZeroLayerExecutor(std::int32_t num_pages, OnStep on_begin, OnStep on_end);

  std::int64_t kv_bytes_per_token() const override { return 1; }
  std::int64_t kv_memory_bytes() const override;
  std::string checkpoint_digest() const override { return "zero layers"; }
  std::string device_name() const override { return "none"; }
  bool is_expert_parallel() const override { return false; }
  void configure(const RankConfig&) override {}
  StepResult run(const StepPlan& plan) override;

 private:
  std::int32_t num_pages_;
  OnStep on_begin_;
  OnStep on_end_;
};

/// What the executor answers.
StepResult zero_layer_result(const StepPlan& plan);

}  // namespace tessera

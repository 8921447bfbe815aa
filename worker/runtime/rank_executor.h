#pragma once

#include <cstdint>
#include <string>

#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"

namespace tessera {

/// What the ranks of a replica agree on when they join; comes with the coordinator's Welcome.
struct RankConfig {
  std::int32_t page_size = 32;     ///< Tokens per page.
  std::int32_t num_pages = 0;      ///< The same on every rank.
  std::int32_t max_step_rows = 0;  ///< Most rows of one step; workspaces are sized for it.
  std::int32_t max_model_len = 0;  ///< Longest sequence, prompt and output.
  std::int32_t max_sequences = 0;  ///< Most sequences that hold pages at a time.
};

/// A rank's share of the model: weights first, then pages, then steps. What the rank loop drives;
/// the loop knows neither models nor kernels.
///
/// Owned by the rank's main thread. With several ranks every call is collective: all ranks of the
/// replica make the same calls in the same order.
class RankExecutor {
 public:
  virtual ~RankExecutor() = default;

  /// Bytes of K and V that one token takes on this rank, all layers.
  virtual std::int64_t kv_bytes_per_token() const = 0;

  /// Bytes that may be spent on KV pages (from --kv-memory, or what the machine has left).
  virtual std::int64_t kv_memory_bytes() const = 0;

  /// Digest of config.json and the tensor inventory: ranks with another checkpoint do not join.
  virtual std::string checkpoint_digest() const = 0;

  /// Instruction set or GPU, e.g. "avx512_bf16". Part of the mode: ranks with different ones do
  /// not join one job.
  virtual std::string device_name() const = 0;

  /// Whether ranks divide routed experts by expert: part of the mode, likewise.
  virtual bool is_expert_parallel() const = 0;

  /// Allocates pages and workspaces. Called once, before the first step.
  virtual void configure(const RankConfig& config) = 0;

  /// Runs one step. Allocates nothing. Rank 0's result carries the measurements.
  /// @throws Error{kInternal} if the plan breaks a rule of Span or names a page that does not
  /// exist.
  virtual StepResult run(const StepPlan& plan) = 0;
};

}  // namespace tessera

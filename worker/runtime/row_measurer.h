#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/model_spec/sharding.h"
#include "kernels/filtered_measure.h"
#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/comm/tensor_sum.h"
#include "worker/model/model_weights.h"
#include "worker/runtime/canvas_states.h"
#include "worker/runtime/step_inputs.h"

namespace tessera {

/// Final norm, LM head and measurement of the measured rows of a step, on one rank's shard of the
/// vocabulary. Collective. Takes the rows in groups, so that its workspaces are small.
///
/// Borrows everything it is given. Owned by the rank's main thread.
class RowMeasurer {
 public:
  RowMeasurer(const ModelSpec& spec,
              const RankShard& shard,
              const ModelWeights& weights,
              kernels::Backend& backend,
              Communicator& communicator,
              TensorSum& sum,
              std::int32_t max_step_rows);

  /// Queues the measurement of the rows that are measured with the LM head, padding included.
  /// Nothing but operations of the back end.
  /// @param residual  Decoder::residual() of the step.
  void measure_fused(const MatrixView& residual, const MeasuredRows& measured);

  /// Waits for what measure_fused() queued, and measures all others.
  /// @param states   Of models with a canvas, else null; out: what the canvases of the step leave.
  /// @param results  [inputs.num_measures()] out, in the order of the plan, equal on every rank.
  void finish(const MatrixView& residual,
              const StepInputs& inputs,
              CanvasStates* states,
              std::span<Measurement> results);

  /// Rows whose logits are stored at a time.
  std::int64_t logits_group() const { return static_cast<std::int64_t>(logits_group_); }

  /// For tests: this rank's logits of the rows `rows`, no id excluded.
  /// @param out  fp32 [rows, vocab_shard]
  void logits(const MatrixView& residual,
              std::span<const std::int64_t> rows,
              const MatrixView& out);

 private:
  ConstMatrixView final_rows(const MatrixView& residual, std::span<const std::int64_t> rows);
  void measure_filtered(const MatrixView& residual,
                        const MeasuredRows& measured,
                        std::size_t first,
                        std::size_t count,
                        std::span<Measurement> results);
  void measure_canvas(const MatrixView& residual,
                      const CanvasRows& canvas,
                      const MatrixView& state,
                      std::span<Measurement> results);
  void merge_partials(std::size_t count);

  const ModelSpec& spec_;
  const RankShard& shard_;
  const ModelWeights& weights_;
  kernels::Backend& backend_;
  Communicator& communicator_;
  TensorSum& sum_;
  kernels::VocabularyShard vocabulary_;
  std::size_t fused_group_;   ///< Rows measured with the LM head at a time.
  std::size_t logits_group_;  ///< Rows whose logits are stored at a time.
  std::size_t canvas_group_;  ///< The same of rows of a canvas; 0 without.

  kernels::Buffer gathered_;  // fp32 [fused_group, hidden]
  kernels::Buffer normed_;    // activation dtype [fused_group, hidden]
  kernels::Buffer logits_;    // fp32 [the larger of the last two, vocab_shard]
  kernels::Buffer fused_workspace_;
  kernels::Buffer filtered_workspace_;
  kernels::Buffer soft_workspace_;
  std::vector<std::int64_t> canvas_rows_;                   // [canvas_group]
  kernels::Buffer device_partials_;                         // [max_step_rows]
  std::vector<kernels::MeasurePartial> partials_;           // [max_step_rows]
  std::vector<kernels::MeasurePartial> gathered_partials_;  // [ranks, count]
  std::vector<Measurement> filtered_results_;               // [logits_group]
};

}  // namespace tessera

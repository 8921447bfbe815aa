#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"
#include "worker/comm/tensor_sum.h"
#include "worker/kv/kv_pool.h"
#include "worker/kv/rank_page_tables.h"
#include "worker/model/decoder.h"
#include "worker/runtime/canvas_states.h"
#include "worker/runtime/rank_executor.h"
#include "worker/runtime/row_measurer.h"
#include "worker/runtime/step_inputs.h"

namespace tessera {

/// One rank's share of K and V of a token.
KvShape kv_shape(const ModelSpec& spec, const RankShard& shard, const kernels::Backend& backend);

/// Runs step plans on one rank's share of a model: page tables, inputs, layers, measurements.
/// Owns the pages and all workspaces; a step allocates nothing but its result.
///
/// Collective: every rank runs the same plans. Borrows what the constructor is given. Owned by the
/// rank's main thread.
class ModelRunner {
 public:
  ModelRunner(const ModelSpec& spec,
              const RankShard& shard,
              const ModelWeights& weights,
              kernels::Backend& backend,
              Communicator& communicator,
              const RankConfig& config);

  /// @return The measurements, span by span in the order of the plan; on rank 0 only.
  /// @throws Error{kInternal} if the plan breaks a rule, see StepInputs.
  std::vector<SpanResult> run(const StepPlan& plan);

  /// For tests: runs the plan, and instead of measuring gives this rank's logits of all its rows.
  /// @param out  fp32 [rows of the plan, vocab_shard]
  void logits(const StepPlan& plan, const MatrixView& out);

 private:
  MatrixView forward(const StepPlan& plan);
  ConstMatrixView conditioning();

  kernels::Backend& backend_;
  const RankShard& shard_;
  KvPool pool_;
  RankPageTables tables_;
  StepInputs inputs_;
  std::unique_ptr<TensorSum> sum_;  // of everything that the layers and measurements make
  Decoder decoder_;
  RowMeasurer measurer_;
  // Of models with a canvas:
  std::optional<CanvasStates> canvases_;
  kernels::Buffer conditioning_;                 // fp32 [rows, hidden]
  std::vector<std::int64_t> conditioning_rows_;  // of the table of canvases_
  std::vector<Measurement> measurements_;
};

}  // namespace tessera

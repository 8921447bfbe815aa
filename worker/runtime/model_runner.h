#pragma once

#include <cstdint>
#include <functional>
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
#include "worker/runtime/graph_cache.h"
#include "worker/runtime/rank_executor.h"
#include "worker/runtime/row_measurer.h"
#include "worker/runtime/step_inputs.h"

namespace tessera {

/// One rank's share of K and V of a token.
KvShape kv_shape(const ModelSpec& spec, const RankShard& shard, const kernels::Backend& backend);

struct ModelRunnerOptions {
  /// Steps are launched operation by operation, also where graphs could be had. Equal tokens.
  bool eager = false;
  DeviceExchange* exchange = nullptr;  ///< As create_tensor_sum() takes it.
  /// Called with (graphs made, graphs in all) while they are made.
  std::function<void(std::size_t, std::size_t)> on_graph_progress = {};
};

/// Runs step plans on one rank's share of a model: page tables, inputs, layers, measurements.
/// Owns the pages and all workspaces; a step allocates nothing but its result.
///
/// On back ends with graphs, steps are padded to a few shapes. The constructor makes a graph for
/// each of them, unless ranks sum through host memory: then, and for models with a canvas, steps
/// are neither padded nor made of graphs.
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
              const RankConfig& config,
              const ModelRunnerOptions& options = {});

  /// @return The measurements, span by span in the order of the plan; on rank 0 only.
  /// @throws Error{kInternal} if the plan breaks a rule, see StepInputs.
  std::vector<SpanResult> run(const StepPlan& plan);

  /// For tests: runs the plan, and instead of measuring gives this rank's logits of all its rows.
  /// @param out  fp32 [rows of the plan, vocab_shard]
  void logits(const StepPlan& plan, const MatrixView& out);

 private:
  bool can_use_graphs(const ModelSpec& spec) const;
  void make_graphs(const ModelRunnerOptions& options);
  RowBatch pad(const StepShape& shape, std::int64_t num_filtered);
  void warm_up(const StepShape& shape, std::int64_t num_filtered);
  RowBatch prepare(const StepPlan& plan);
  void send(const RowBatch& batch);
  void run_layers(const RowBatch& batch);
  ConstMatrixView conditioning();

  kernels::Backend& backend_;
  const RankShard& shard_;
  KvPool pool_;
  RankPageTables tables_;
  std::unique_ptr<TensorSum> sum_;  // of everything that the layers and measurements make
  StepInputs inputs_;
  Decoder decoder_;
  RowMeasurer measurer_;
  kernels::AttentionRoom room_;  // of all steps
  GraphCache graphs_;            // empty: steps run eagerly
  // Of models with a canvas:
  std::optional<CanvasStates> canvases_;
  kernels::Buffer conditioning_;                 // fp32 [rows, hidden]
  std::vector<std::int64_t> conditioning_rows_;  // of the table of canvases_
  std::vector<Measurement> measurements_;
};

}  // namespace tessera

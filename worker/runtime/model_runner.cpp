#include "worker/runtime/model_runner.h"

#include <numeric>
#include <utility>

namespace tessera {

KvShape kv_shape(const ModelSpec& spec, const RankShard& shard, const kernels::Backend& backend) {
  KvShape shape{.layers = {}, .dtype = backend.cache_dtype()};
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    shape.layers.push_back(
        {shard.attention_of(spec, layer).num_kv_heads, spec.attention_of(layer).head_dim});
  }
  return shape;
}

ModelRunner::ModelRunner(const ModelSpec& spec,
                         const RankShard& shard,
                         const ModelWeights& weights,
                         kernels::Backend& backend,
                         Communicator& communicator,
                         const RankConfig& config)
    : backend_(backend),
      shard_(shard),
      pool_(kv_shape(spec, shard, backend), config.num_pages, config.page_size, backend),
      tables_(config.num_pages,
              config.max_sequences,
              StepInputs::num_positions(config) / config.page_size),
      inputs_(spec, config, backend),
      sum_(create_tensor_sum(
          communicator, backend, Decoder::largest_sum(spec, config.max_step_rows))),
      decoder_(spec,
               shard,
               weights,
               backend,
               *sum_,
               config.max_step_rows,
               StepInputs::num_positions(config)),
      measurer_(spec, shard, weights, backend, communicator, config.max_step_rows) {
  measurements_.reserve(static_cast<std::size_t>(config.max_step_rows));
  if (!spec.canvas_length) return;
  canvases_.emplace(config.max_sequences, *spec.canvas_length, spec.hidden_size, backend);
  conditioning_ = backend.allocate(std::int64_t{config.max_step_rows} * spec.hidden_size *
                                   size_of(DType::kFloat32));
  conditioning_rows_.reserve(static_cast<std::size_t>(config.max_step_rows));
}

std::vector<SpanResult> ModelRunner::run(const StepPlan& plan) {
  const MatrixView residual = forward(plan);
  measurements_.resize(inputs_.num_measures());
  measurer_.measure(residual, inputs_, canvases_ ? &*canvases_ : nullptr, measurements_);
  std::vector<SpanResult> results;
  if (shard_.rank != 0) return results;
  results.reserve(plan.spans.size());
  auto next = measurements_.begin();
  for (const SequenceSpan& sequence : plan.spans) {
    const auto end = next + static_cast<std::ptrdiff_t>(sequence.span.measures.size());
    results.push_back({sequence.request, {next, end}});
    next = end;
  }
  return results;
}

void ModelRunner::logits(const StepPlan& plan, const MatrixView& out) {
  const MatrixView residual = forward(plan);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(residual.rows));
  std::iota(rows.begin(), rows.end(), 0);
  measurer_.logits(residual, rows, out);
}

MatrixView ModelRunner::forward(const StepPlan& plan) {
  tables_.apply(plan);
  inputs_.build(plan, tables_);
  backend_.send_step_arrays();
  RowBatch batch = inputs_.batch();
  if (canvases_) {
    canvases_->release(plan.released);
    batch.conditioning = conditioning();
  }
  return decoder_.forward(batch, pool_);
}

// What the canvases of the step are conditioned on, in the order of their rows.
ConstMatrixView ModelRunner::conditioning() {
  conditioning_rows_.clear();
  for (const CanvasRows& canvas : inputs_.canvases()) {
    canvases_->add_rows(*canvas.sequence, conditioning_rows_);
  }
  const ConstMatrixView table = canvases_->table();
  const MatrixView rows{conditioning_.data(), DType::kFloat32,
                        static_cast<std::int64_t>(conditioning_rows_.size()), table.cols,
                        table.cols};
  backend_.gather_rows(table, conditioning_rows_, rows);
  return rows;
}

}  // namespace tessera

#include "worker/runtime/model_runner.h"

#include <numeric>
#include <utility>

namespace tessera {

KvShape kv_shape(const ModelSpec& spec, const RankShard& shard, const kernels::Backend& backend) {
  return {spec.num_layers, shard.num_kv_heads, spec.head_dim, backend.cache_dtype()};
}

ModelRunner::ModelRunner(const ModelSpec& spec,
                         const RankShard& shard,
                         const ModelWeights& weights,
                         kernels::Backend& backend,
                         Communicator& communicator,
                         const RankConfig& config)
    : shard_(shard),
      pool_(kv_shape(spec, shard, backend), config.num_pages, config.page_size, backend),
      tables_(config.num_pages,
              config.max_sequences,
              StepInputs::num_positions(config) / config.page_size),
      inputs_(spec, config),
      decoder_(spec,
               shard,
               weights,
               backend,
               communicator,
               config.max_step_rows,
               StepInputs::num_positions(config)),
      measurer_(spec, shard, weights, backend, communicator, config.max_step_rows) {
  measurements_.reserve(static_cast<std::size_t>(config.max_step_rows));
}

std::vector<SpanResult> ModelRunner::run(const StepPlan& plan) {
  const MatrixView residual = forward(plan);
  measurements_.resize(inputs_.num_measures());
  measurer_.measure(residual, inputs_, measurements_);
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
  return decoder_.forward(inputs_.batch(), pool_);
}

}  // namespace tessera

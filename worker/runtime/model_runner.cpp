#include "worker/runtime/model_runner.h"

#include <algorithm>
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
                         const RankConfig& config,
                         const ModelRunnerOptions& options)
    : backend_(backend),
      shard_(shard),
      pool_(kv_shape(spec, shard, backend), config.num_pages, config.page_size, backend),
      tables_(config.num_pages,
              config.max_sequences,
              StepInputs::num_positions(config) / config.page_size),
      sum_(create_tensor_sum(communicator,
                             options.exchange,
                             backend,
                             Decoder::largest_sum(spec, config.max_step_rows))),
      inputs_(spec, config, backend, can_use_graphs(spec)),
      decoder_(spec,
               shard,
               weights,
               backend,
               *sum_,
               config.max_step_rows,
               StepInputs::num_positions(config)),
      measurer_(spec, shard, weights, backend, communicator, *sum_, config.max_step_rows),
      room_{.rows = config.max_step_rows,
            .spans = std::min(config.max_step_rows, config.max_sequences),
            .span_pages = StepInputs::num_positions(config) / config.page_size},
      graphs_(backend) {
  backend.reserve_step_arrays(StepInputs::array_bytes(config) +
                              decoder_.reserve_plans(pool_, room_));
  measurements_.reserve(static_cast<std::size_t>(config.max_step_rows));
  if (spec.canvas_length) {
    canvases_.emplace(config.max_sequences, *spec.canvas_length, spec.hidden_size, backend);
    conditioning_ = backend.allocate(std::int64_t{config.max_step_rows} * spec.hidden_size *
                                     size_of(DType::kFloat32));
    conditioning_rows_.reserve(static_cast<std::size_t>(config.max_step_rows));
  }
  if (inputs_.shapes() && !options.eager) make_graphs(options);
}

bool ModelRunner::can_use_graphs(const ModelSpec& spec) const {
  return backend_.has_graphs() && sum_->is_capturable() && !spec.canvas_length;
}

// All shapes are run before the first graph: no operation may ask for more scratch memory later.
void ModelRunner::make_graphs(const ModelRunnerOptions& options) {
  const std::vector<StepShape> shapes = inputs_.shapes()->all();
  warm_up({room_.rows, room_.rows}, std::min(room_.rows, measurer_.logits_group()));
  for (const StepShape& shape : shapes) warm_up(shape, 0);
  for (const StepShape& shape : shapes) {
    const RowBatch batch = pad(shape, 0);
    for (const bool embeds : {true, false}) {
      graphs_.capture({shape, embeds}, [&] {
        if (embeds) decoder_.embed(batch);
        run_layers(batch);
      });
    }
    if (options.on_graph_progress) options.on_graph_progress(graphs_.size(), 2 * shapes.size());
  }
}

// A step of nothing but padding, sent.
RowBatch ModelRunner::pad(const StepShape& shape, std::int64_t num_filtered) {
  inputs_.build_padding(shape, num_filtered);
  const RowBatch batch = inputs_.batch();
  send(batch);
  return batch;
}

void ModelRunner::warm_up(const StepShape& shape, std::int64_t num_filtered) {
  const RowBatch batch = pad(shape, num_filtered);
  decoder_.embed(batch);
  run_layers(batch);
  measurements_.resize(inputs_.num_measures());
  measurer_.finish(decoder_.residual(batch.num_rows()), inputs_, nullptr, measurements_);
}

std::vector<SpanResult> ModelRunner::run(const StepPlan& plan) {
  const RowBatch batch = prepare(plan);
  const bool embeds = batch.recipes.empty();
  if (inputs_.shape() && graphs_.size() > 0) {
    if (!embeds) decoder_.embed(batch);
    graphs_.launch({*inputs_.shape(), embeds});
  } else {
    decoder_.embed(batch);
    run_layers(batch);
  }
  measurements_.resize(inputs_.num_measures());
  measurer_.finish(decoder_.residual(batch.num_rows()), inputs_, canvases_ ? &*canvases_ : nullptr,
                   measurements_);
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
  const RowBatch batch = prepare(plan);
  decoder_.embed(batch);
  run_layers(batch);
  std::vector<std::int64_t> rows(static_cast<std::size_t>(inputs_.num_rows()));
  std::iota(rows.begin(), rows.end(), 0);
  measurer_.logits(decoder_.residual(batch.num_rows()), rows, out);
}

RowBatch ModelRunner::prepare(const StepPlan& plan) {
  tables_.apply(plan);
  inputs_.build(plan, tables_);
  RowBatch batch = inputs_.batch();
  send(batch);
  if (canvases_) {
    canvases_->release(plan.released);
    batch.conditioning = conditioning();
  }
  return batch;
}

void ModelRunner::send(const RowBatch& batch) {
  kernels::AttentionRoom room = room_;
  room.rows = batch.num_rows();
  room.spans = std::min(room.spans, room.rows);
  decoder_.plan(batch, inputs_.shapes() ? &room : nullptr);
  backend_.send_step_arrays();
}

// What a graph holds, behind the embedding.
void ModelRunner::run_layers(const RowBatch& batch) {
  decoder_.run_layers(batch, pool_);
  measurer_.measure_fused(decoder_.residual(batch.num_rows()), inputs_.fused());
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

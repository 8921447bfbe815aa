#include "worker/runtime/row_measurer.h"

#include <algorithm>
#include <limits>

#include "common/model_spec/memory_plan.h"
#include "common/tensor/padding.h"
#include "kernels/partition.h"
#include "worker/model/model_norm.h"

namespace tessera {
namespace {

std::size_t group_of(std::int64_t num_rows, std::int64_t largest) {
  return static_cast<std::size_t>(std::min(num_rows, largest));
}

// The ranks of a replica as the measurement sees them.
class RankGroup final : public kernels::ShardGroup {
 public:
  explicit RankGroup(Communicator& communicator) : communicator_(communicator) {}

  std::int32_t num_shards() const override { return communicator_.size(); }
  void sum(std::span<std::uint64_t> values) override { communicator_.all_reduce_sum(values); }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    communicator_.all_gather(mine, all);
  }

 private:
  Communicator& communicator_;
};

}  // namespace

RowMeasurer::RowMeasurer(const ModelSpec& spec,
                         const RankShard& shard,
                         const ModelWeights& weights,
                         kernels::Backend& backend,
                         Communicator& communicator,
                         TensorSum& sum,
                         std::int32_t max_step_rows)
    : spec_(spec),
      shard_(shard),
      weights_(weights),
      backend_(backend),
      communicator_(communicator),
      sum_(sum),
      vocabulary_{static_cast<TokenId>(shard.vocab.begin), spec.tokenizer_size,
                  spec.mask_id.value_or(-1), spec.logit_softcap},
      fused_group_(group_of(max_step_rows, kRowGroup)),
      logits_group_(group_of(max_step_rows, kLogitsGroup)),
      canvas_group_(
          group_of(std::min(max_step_rows, spec.canvas_length.value_or(0)), kCanvasGroup)) {
  const auto fused = static_cast<std::int64_t>(fused_group_);
  const auto filtered = static_cast<std::int64_t>(logits_group_);
  const auto canvas = static_cast<std::int64_t>(canvas_group_);
  const std::int64_t stored = std::max(filtered, canvas);
  const std::int64_t hidden = spec.hidden_size;
  gathered_ = backend.allocate(fused * hidden * size_of(DType::kFloat32));
  normed_ = backend.allocate(fused * hidden * size_of(backend.activation_dtype()));
  logits_ = backend.allocate(stored * shard.vocab.size() * size_of(DType::kFloat32));
  fused_workspace_ = backend.allocate(backend.measure_workspace_bytes(*weights.lm_head, fused));
  filtered_workspace_ =
      kernels::Buffer(kernels::filtered_measure_workspace_bytes(filtered, communicator.size()));
  if (canvas > 0) {
    soft_workspace_ =
        backend.allocate(backend.soft_embedding_workspace_bytes(*weights.lm_head, canvas));
  }
  canvas_rows_.reserve(canvas_group_);
  device_partials_ = backend.allocate(std::int64_t{max_step_rows} *
                                      static_cast<std::int64_t>(sizeof(kernels::MeasurePartial)));
  partials_.resize(static_cast<std::size_t>(max_step_rows));
  gathered_partials_.resize(partials_.size() * static_cast<std::size_t>(communicator.size()));
  filtered_results_.resize(logits_group_);
  for (Measurement& result : filtered_results_) {
    result.alternatives.reserve(kernels::kMaxAlternatives);
  }
}

void RowMeasurer::measure_fused(const MatrixView& residual, const MeasuredRows& measured) {
  const auto partials = device_partials_.values<kernels::MeasurePartial>();
  for (std::size_t first = 0; first < measured.rows.size(); first += fused_group_) {
    const std::size_t count = std::min(fused_group_, measured.rows.size() - first);
    backend_.measure(final_rows(residual, measured.rows.subspan(first, count)), *weights_.lm_head,
                     vocabulary_, measured.measures.subspan(first, count),
                     fused_workspace_.values<std::byte>(), partials.subspan(first, count));
  }
}

void RowMeasurer::finish(const MatrixView& residual,
                         const StepInputs& inputs,
                         CanvasStates* states,
                         std::span<Measurement> results) {
  const MeasuredRows& fused = inputs.fused();
  merge_partials(fused.size());
  for (std::size_t i = 0; i < fused.size(); ++i) {
    results[fused.results[i]] = kernels::finish(gathered_partials_[i], fused.measures[i]);
  }
  const MeasuredRows& filtered = inputs.filtered();
  for (std::size_t first = 0; first < filtered.size(); first += logits_group_) {
    measure_filtered(residual, filtered, first, std::min(logits_group_, filtered.size() - first),
                     results);
  }
  for (const CanvasRows& canvas : inputs.canvases()) {
    const SequenceSpan& sequence = *canvas.sequence;
    measure_canvas(residual, canvas, states->begin(sequence.request, sequence.span.first), results);
  }
}

void RowMeasurer::logits(const MatrixView& residual,
                         std::span<const std::int64_t> rows,
                         const MatrixView& out) {
  for (std::size_t first = 0; first < rows.size(); first += fused_group_) {
    const std::size_t count = std::min(fused_group_, rows.size() - first);
    MatrixView part = out;
    part.data = out.row(static_cast<std::int64_t>(first));
    part.rows = static_cast<std::int64_t>(count);
    const std::vector<Measure> measures(count);
    backend_.logits(final_rows(residual, rows.subspan(first, count)), *weights_.lm_head,
                    {.first_id = vocabulary_.first_id,
                     .tokenizer_size = std::numeric_limits<std::int32_t>::max(),
                     .softcap = vocabulary_.softcap},
                    measures, part);
  }
}

ConstMatrixView RowMeasurer::final_rows(const MatrixView& residual,
                                        std::span<const std::int64_t> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t hidden = spec_.hidden_size;
  const MatrixView gathered{gathered_.data(), DType::kFloat32, count, hidden, hidden};
  const MatrixView normed{normed_.data(), backend_.activation_dtype(), count, hidden, hidden};
  backend_.gather_rows(residual, rows, gathered);
  model_norm(backend_, spec_, gathered, weights_.final_norm, normed);
  return normed;
}

// Of device_partials_. Afterwards gathered_partials_[i] is that of the whole vocabulary for row i.
void RowMeasurer::merge_partials(std::size_t count) {
  if (count == 0) return;
  const std::span<kernels::MeasurePartial> mine = std::span(partials_).first(count);
  backend_.download(device_partials_.data(), mine.data(),
                    static_cast<std::int64_t>(mine.size_bytes()));
  const auto ranks = static_cast<std::size_t>(communicator_.size());
  const auto all = std::span(gathered_partials_).first(ranks * count);
  all_gather_values(communicator_, std::span<const kernels::MeasurePartial>(mine), all);
  kernels::for_each_branch(communicator_.size(), [&](std::int32_t left, std::int32_t right) {
    for (std::size_t i = 0; i < count; ++i) {
      auto& sum = all[static_cast<std::size_t>(left) * count + i];
      sum = kernels::merge(sum, all[static_cast<std::size_t>(right) * count + i]);
    }
  });
}

// The logits of a canvas are stored: they choose the tokens and make the embedding that the next
// step is conditioned on.
void RowMeasurer::measure_canvas(const MatrixView& residual,
                                 const CanvasRows& canvas,
                                 const MatrixView& state,
                                 std::span<Measurement> results) {
  const std::span<const Measure> all = canvas.sequence->span.measures;
  for (std::size_t first = 0; first < all.size(); first += canvas_group_) {
    const std::size_t count = std::min(canvas_group_, all.size() - first);
    const auto measures = all.subspan(first, count);
    canvas_rows_.clear();
    for (std::size_t i = 0; i < count; ++i) {
      canvas_rows_.push_back(canvas.first_row + static_cast<std::int64_t>(first + i));
    }
    const auto rows = static_cast<std::int64_t>(count);
    const std::int64_t cols = shard_.vocab.size();
    const MatrixView logits{logits_.data(), DType::kFloat32, rows, cols, cols};
    backend_.logits(final_rows(residual, canvas_rows_), *weights_.lm_head, vocabulary_, measures,
                    logits);
    backend_.measure_logits(logits, *weights_.lm_head, vocabulary_.first_id, measures,
                            fused_workspace_.values<std::byte>(),
                            device_partials_.values<kernels::MeasurePartial>().first(count));
    merge_partials(count);
    for (std::size_t i = 0; i < count; ++i) {
      results[canvas.first_result + first + i] =
          kernels::finish(gathered_partials_[i], measures[i]);
    }
    MatrixView soft = state;
    soft.data = state.row(static_cast<std::int64_t>(first));
    soft.rows = rows;
    backend_.soft_embedding({.logits = logits,
                             .table = weights_.lm_head.get(),
                             .partials = std::span(gathered_partials_).first(count),
                             .workspace = soft_workspace_.values<std::byte>(),
                             .out = soft});
    sum_.all_reduce_tree(
        {static_cast<float*>(soft.data), static_cast<std::size_t>(rows * soft.cols)});
    backend_.scale(soft, spec_.embedding_scale);
  }
}

void RowMeasurer::measure_filtered(const MatrixView& residual,
                                   const MeasuredRows& measured,
                                   std::size_t first,
                                   std::size_t count,
                                   std::span<Measurement> results) {
  const auto measures = std::span(measured.measures).subspan(first, count);
  const std::int64_t cols = shard_.vocab.size();
  const MatrixView logits{logits_.data(), DType::kFloat32, static_cast<std::int64_t>(count), cols,
                          cols};
  backend_.logits(final_rows(residual, std::span(measured.rows).subspan(first, count)),
                  *weights_.lm_head, vocabulary_, measures, logits);
  RankGroup ranks(communicator_);
  kernels::filtered_measure(backend_, {logits, kNumLeaves / shard_.tp, vocabulary_.first_id},
                            measures, ranks, filtered_workspace_.values<std::byte>(),
                            std::span(filtered_results_).first(count));
  for (std::size_t i = 0; i < count; ++i) {
    results[measured.results[first + i]] = filtered_results_[i];
  }
}

}  // namespace tessera

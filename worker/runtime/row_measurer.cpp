#include "worker/runtime/row_measurer.h"

#include <algorithm>

#include "common/tensor/padding.h"
#include "kernels/partition.h"

namespace tessera {
namespace {

// Enough rows to make the LM head compute-bound.
constexpr std::int32_t kFusedGroup = 256;
// Their logits take 4 bytes for every id of the shard.
constexpr std::int32_t kLogitsGroup = 32;

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
                         std::int32_t max_step_rows)
    : spec_(spec),
      shard_(shard),
      weights_(weights),
      backend_(backend),
      communicator_(communicator),
      vocabulary_{static_cast<TokenId>(shard.vocab.begin), spec.tokenizer_size,
                  spec.mask_id.value_or(-1)},
      fused_group_(static_cast<std::size_t>(std::min(max_step_rows, kFusedGroup))),
      logits_group_(static_cast<std::size_t>(std::min(max_step_rows, kLogitsGroup))) {
  const auto fused = static_cast<std::int64_t>(fused_group_);
  const auto stored = static_cast<std::int64_t>(logits_group_);
  const std::int64_t hidden = spec.hidden_size;
  gathered_ = backend.allocate(fused * hidden * size_of(DType::kFloat32));
  normed_ = backend.allocate(fused * hidden * size_of(backend.activation_dtype()));
  logits_ = backend.allocate(stored * shard.vocab.size() * size_of(DType::kFloat32));
  fused_workspace_ = backend.allocate(backend.measure_workspace_bytes(*weights.lm_head, fused));
  filtered_workspace_ =
      kernels::Buffer(kernels::filtered_measure_workspace_bytes(stored, communicator.size()));
  partials_.resize(fused_group_);
  gathered_partials_.resize(fused_group_ * static_cast<std::size_t>(communicator.size()));
  filtered_results_.resize(logits_group_);
  for (Measurement& result : filtered_results_) {
    result.alternatives.reserve(kernels::kMaxAlternatives);
  }
}

void RowMeasurer::measure(const MatrixView& residual,
                          const StepInputs& inputs,
                          std::span<Measurement> results) {
  const MeasuredRows& fused = inputs.fused();
  for (std::size_t first = 0; first < fused.size(); first += fused_group_) {
    measure_fused(residual, fused, first, std::min(fused_group_, fused.size() - first), results);
  }
  const MeasuredRows& filtered = inputs.filtered();
  for (std::size_t first = 0; first < filtered.size(); first += logits_group_) {
    measure_filtered(residual, filtered, first, std::min(logits_group_, filtered.size() - first),
                     results);
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
    backend_.gemm(final_rows(residual, rows.subspan(first, count)), *weights_.lm_head, part);
  }
}

ConstMatrixView RowMeasurer::final_rows(const MatrixView& residual,
                                        std::span<const std::int64_t> rows) {
  const auto count = static_cast<std::int64_t>(rows.size());
  const std::int64_t hidden = spec_.hidden_size;
  const MatrixView gathered{gathered_.data(), DType::kFloat32, count, hidden, hidden};
  const MatrixView normed{normed_.data(), backend_.activation_dtype(), count, hidden, hidden};
  backend_.gather_rows(residual, rows, gathered);
  backend_.rms_norm(gathered, weights_.final_norm, spec_.rms_norm_eps, normed);
  return normed;
}

void RowMeasurer::measure_fused(const MatrixView& residual,
                                const MeasuredRows& measured,
                                std::size_t first,
                                std::size_t count,
                                std::span<Measurement> results) {
  const auto measures = std::span(measured.measures).subspan(first, count);
  backend_.measure(final_rows(residual, std::span(measured.rows).subspan(first, count)),
                   *weights_.lm_head, vocabulary_, measures, fused_workspace_.values<std::byte>(),
                   std::span(partials_).first(count));
  merge_over_ranks(count);
  for (std::size_t i = 0; i < count; ++i) {
    results[measured.results[first + i]] = kernels::finish(gathered_partials_[i], measures[i]);
  }
}

// Afterwards gathered_partials_[i] is that of the whole vocabulary for row i.
void RowMeasurer::merge_over_ranks(std::size_t count) {
  const std::span<const kernels::MeasurePartial> mine = std::span(partials_).first(count);
  const auto ranks = static_cast<std::size_t>(communicator_.size());
  const auto all = std::span(gathered_partials_).first(ranks * count);
  all_gather_values(communicator_, mine, all);
  kernels::for_each_branch(communicator_.size(), [&](std::int32_t left, std::int32_t right) {
    for (std::size_t i = 0; i < count; ++i) {
      auto& sum = all[static_cast<std::size_t>(left) * count + i];
      sum = kernels::merge(sum, all[static_cast<std::size_t>(right) * count + i]);
    }
  });
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

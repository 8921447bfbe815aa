#include "tests/worker/support/logits_ranks.h"

#include <algorithm>
#include <utility>

#include "tests/worker/support/on_ranks.h"
#include "tests/worker/support/thread_communicator.h"

namespace tessera {
namespace {

constexpr std::int32_t kMaxModelLen = 512;

}  // namespace

LogitsRanks::LogitsRanks(const ModelExecutorOptions& options,
                         std::int32_t tp,
                         std::int32_t page_size)
    : config_{.page_size = page_size,
              .num_pages = kMaxModelLen / page_size + 1,
              .max_step_rows = 64,
              .max_model_len = kMaxModelLen,
              .max_sequences = 2} {
  for (auto& communicator : thread_communicators(tp)) {
    Rank& rank = ranks_.emplace_back();
    rank.communicator = std::move(communicator);
    rank.model = load_model(options, rank.communicator->rank(), tp);
    rank.backend = std::make_unique<RecordingBackend>(*rank.model->backend);
    rank.runner =
        std::make_unique<ModelRunner>(rank.model->spec, rank.model->shard, rank.model->weights,
                                      *rank.backend, *rank.communicator, config_);
  }
}

std::vector<float> LogitsRanks::logits(const Span& span) {
  const StepPlan plan = plan_of(span);
  const std::int64_t rows = span.num_rows();
  std::vector<std::vector<float>> parts(ranks_.size());
  on_ranks(static_cast<std::int32_t>(ranks_.size()), [&](std::int32_t r) {
    const auto index = static_cast<std::size_t>(r);
    const std::int64_t cols = ranks_[index].model->shard.vocab.size();
    ranks_[index].backend->forget();
    parts[index].resize(static_cast<std::size_t>(rows * cols));
    kernels::Backend& backend = *ranks_[index].model->backend;
    const kernels::Buffer memory = backend.allocate(rows * cols * size_of(DType::kFloat32));
    ranks_[index].runner->logits(plan, {memory.data(), DType::kFloat32, rows, cols, cols});
    backend.download(memory.data(), parts[index].data(), memory.num_bytes());
  });
  std::vector<float> logits;
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::size_t row_end = logits.size() + static_cast<std::size_t>(spec().vocab_size);
    for (const std::vector<float>& part : parts) {
      const auto cols = static_cast<std::ptrdiff_t>(part.size()) / rows;
      logits.insert(logits.end(), part.begin() + row * cols, part.begin() + (row + 1) * cols);
    }
    logits.resize(row_end);  // padding of the vocabulary
  }
  return logits;
}

std::vector<Measurement> LogitsRanks::measure(const Span& span) {
  const StepPlan plan = plan_of(span);
  std::vector<SpanResult> results;
  on_ranks(size(), [&](std::int32_t r) {
    const auto index = static_cast<std::size_t>(r);
    ranks_[index].backend->forget();
    auto of_rank = ranks_[index].runner->run(plan);
    if (r == 0) results = std::move(of_rank);
  });
  return results.front().measurements;
}

void LogitsRanks::restart() {
  if (num_pages_held_ > 0) released_.push_back(request_);
  ++request_;
  num_pages_held_ = 0;
}

StepPlan LogitsRanks::plan_of(const Span& span) {
  StepPlan plan;
  plan.released = std::exchange(released_, {});
  const Position stored = span.stores.empty() ? 0 : span.stores.back().end;
  const std::int32_t num_pages =
      (std::max(span.cache_len, stored) + config_.page_size - 1) / config_.page_size;
  PageTableDelta delta{request_, num_pages_held_, {}};
  for (; num_pages_held_ < num_pages; ++num_pages_held_) {
    delta.pages.push_back(config_.num_pages - 1 - num_pages_held_);
  }
  plan.page_table_deltas.push_back(std::move(delta));
  plan.spans.push_back({request_, span});
  return plan;
}

}  // namespace tessera

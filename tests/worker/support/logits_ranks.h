#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/worker/support/recording_backend.h"
#include "worker/runtime/loaded_model.h"
#include "worker/runtime/model_runner.h"

namespace tessera {

/// The ranks of a replica, as threads, that give the logits of one sequence's rows. Pages run
/// backwards, so that a position is never its own slot by accident.
class LogitsRanks {
 public:
  LogitsRanks(const ModelExecutorOptions& options, std::int32_t tp, std::int32_t page_size);

  const ModelSpec& spec() const { return ranks_.front().model->spec; }

  /// Runs the span over the pages that earlier spans stored. [rows, vocab_size]
  std::vector<float> logits(const Span& span);

  /// Runs the span and takes its measures.
  std::vector<Measurement> measure(const Span& span);

  /// What a rank did in the last call of logits() or measure().
  const RecordingBackend& record(std::int32_t rank) const {
    return *ranks_[static_cast<std::size_t>(rank)].backend;
  }
  const RankShard& shard(std::int32_t rank) const {
    return ranks_[static_cast<std::size_t>(rank)].model->shard;
  }
  std::int32_t size() const { return static_cast<std::int32_t>(ranks_.size()); }

  /// Begins a new sequence.
  void restart();

 private:
  struct Rank {
    std::unique_ptr<Communicator> communicator;
    std::unique_ptr<LoadedModel> model;
    std::unique_ptr<RecordingBackend> backend;
    std::unique_ptr<ModelRunner> runner;
  };

  StepPlan plan_of(const Span& span);

  RankConfig config_;
  std::vector<Rank> ranks_;
  RequestId request_ = 1;
  std::int32_t num_pages_held_ = 0;
  std::vector<RequestId> released_;
};

}  // namespace tessera

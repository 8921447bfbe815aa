#include "tests/integration/model/served_ranks.h"

#include <utility>

#include "common/base/error.h"
#include "tests/worker/support/on_ranks.h"
#include "tests/worker/support/thread_communicator.h"

namespace tessera {
namespace {

constexpr ReplicaId kReplica = 0;
constexpr std::uint64_t kEpoch = 1;
constexpr std::int32_t kMaxSteps = 100'000;

}  // namespace

ServedRanks::ServedRanks(const Options& options)
    : engine_(options.engine, clock_), ranks_(static_cast<std::size_t>(options.tp)) {
  auto communicators = thread_communicators(options.tp);
  on_ranks(options.tp, [&](std::int32_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    ranks_[index] = create_model_executor(options.model, std::move(communicators[index]));
    ranks_[index]->configure({.page_size = options.engine.page_size,
                              .num_pages = options.num_pages,
                              .max_step_rows = options.engine.max_step_rows,
                              .max_model_len = options.max_model_len,
                              .max_sequences = options.engine.max_running_requests});
  });
  engine_.add_replica(kReplica, kEpoch, options.num_pages);
}

std::map<RequestId, ServedSequence> ServedRanks::serve(
    const std::vector<SequenceRequest>& requests) {
  for (const SequenceRequest& request : requests) engine_.submit(request);
  std::map<RequestId, ServedSequence> served;
  take_updates(served);
  for (std::int32_t step = 0; !engine_.is_idle(); ++step) {
    const std::optional<StepPlan> plan = engine_.next_step(kReplica);
    TESSERA_CHECK(plan.has_value() && step < kMaxSteps, "no progress after ", step, " steps");
    const StepResult result = run(*plan);
    for (const SpanResult& span : result.spans) {
      auto& all = served[span.request].measurements;
      all.insert(all.end(), span.measurements.begin(), span.measurements.end());
    }
    engine_.apply(kReplica, result);
    engine_.check_integrity();
    take_updates(served);
  }
  return served;
}

StepResult ServedRanks::run(const StepPlan& plan) {
  std::vector<StepResult> results(ranks_.size());
  on_ranks(static_cast<std::int32_t>(ranks_.size()), [&](std::int32_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    results[index] = ranks_[index]->run(plan);
  });
  return results.front();
}

void ServedRanks::take_updates(std::map<RequestId, ServedSequence>& served) {
  for (SequenceUpdate& update : engine_.take_updates()) {
    ServedSequence& sequence = served[update.id];
    sequence.tokens.insert(sequence.tokens.end(), update.frozen.begin(), update.frozen.end());
    if (update.is_last()) sequence.last = std::move(update);
  }
}

}  // namespace tessera

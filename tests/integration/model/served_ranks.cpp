#include "tests/integration/model/served_ranks.h"

#include <utility>

#include "common/base/error.h"
#include "tests/worker/support/on_ranks.h"
#include "tests/worker/support/thread_communicator.h"

namespace tessera {
namespace {

constexpr ReplicaId kReplica = 0;
constexpr std::int32_t kMaxSteps = 100'000;

// A canvas whose sequence was preempted or lost begins again: its earlier steps do not count.
void forget_abandoned(const Span& span, std::vector<Measurement>& measurements) {
  if (span.measures.empty()) return;
  const Measure& first = span.measures.front();
  if (first.kind != MeasureKind::kCanvas || first.denoising_step > 0) return;
  std::erase_if(measurements, [&](const Measurement& m) { return m.position >= span.first; });
}

}  // namespace

ServedRanks::ServedRanks(const Options& options)
    : options_(options), engine_(options.engine, clock_) {
  start_ranks();
}

void ServedRanks::start_ranks() {
  ranks_.clear();
  ranks_.resize(static_cast<std::size_t>(options_.tp));
  auto communicators = thread_communicators(options_.tp);
  on_ranks(options_.tp, [&](std::int32_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    ranks_[index] = create_model_executor(options_.model, std::move(communicators[index]));
    ranks_[index]->configure({.page_size = options_.engine.page_size,
                              .num_pages = options_.num_pages,
                              .max_step_rows = options_.engine.max_step_rows,
                              .max_model_len = options_.max_model_len,
                              .max_sequences = options_.engine.max_running_requests});
  });
  engine_.add_replica(kReplica, ++epoch_, options_.num_pages);
}

std::map<RequestId, ServedSequence> ServedRanks::serve(const std::vector<SequenceRequest>& requests,
                                                       std::int32_t first_loss) {
  std::int32_t distance = first_loss;
  std::int32_t next_loss = first_loss > 0 ? first_loss : kMaxSteps;
  for (const SequenceRequest& request : requests) engine_.submit(request);
  std::map<RequestId, ServedSequence> served;
  take_updates(served);
  for (std::int32_t step = 0; !engine_.is_idle(); ++step) {
    const std::optional<StepPlan> plan = engine_.next_step(kReplica);
    TESSERA_CHECK(plan.has_value() && step < kMaxSteps, "no progress after ", step, " steps");
    if (step == next_loss) {
      engine_.remove_replica(kReplica);
      start_ranks();
      next_loss += ++distance;
      continue;
    }
    const StepResult result = run(*plan);
    for (std::size_t i = 0; i < result.spans.size(); ++i) {
      const SpanResult& span = result.spans[i];
      auto& all = served[span.request].measurements;
      forget_abandoned(plan->spans[i].span, all);
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

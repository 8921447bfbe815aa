#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"
#include "coordinator/request/engine_stats.h"
#include "coordinator/request/sequence_request.h"
#include "coordinator/request/sequence_update.h"

namespace tessera {

struct EngineOptions {
  std::int32_t page_size = 32;               ///< Tokens per page.
  std::int32_t max_running_requests = 64;    ///< Per replica.
  std::int32_t max_waiting_requests = 1024;  ///< Beyond them a submission fails with kQueueFull.
  /// Row budget of a step, which is what the ranks have room for: prompts are cut to it, and what
  /// cannot be cut to it is refused.
  std::int32_t max_step_rows = 2048;
  bool prefix_cache = true;
  std::int32_t vocab_size = std::numeric_limits<std::int32_t>::max();  ///< Results must lie below.
};

/// Scheduler, pages, prefix cache and request state of all replicas: everything between the front
/// end and the wire, without a thread, a socket or a clock of its own.
///
/// Per replica a step is: next_step() -> the ranks run it -> apply(). One step of a replica is
/// outstanding at a time. Running requests are ordered by (priority, age); a step takes the rows of
/// all of them under the row budget, waiting requests are admitted while requests and pages allow.
/// When a running sequence needs pages and none is left, the request of lowest priority, then the
/// newest, is preempted: it keeps its Sequence, loses its pages and is rebuilt when re-admitted.
///
/// Owned by the engine thread.
class Engine {
 public:
  Engine(const EngineOptions& options, const Clock& clock);
  ~Engine();

  /// Queues the sequence, or reports its failure through take_updates().
  void submit(SequenceRequest request);
  void cancel(RequestId id);

  /// Why a sequence submitted now would fail whatever it is; none if it would be looked at.
  std::optional<SequenceFailure> refusal() const;

  /// A replica joined with empty pages. Ids may come back after remove_replica with a new epoch.
  void add_replica(ReplicaId id, std::uint64_t epoch, std::int32_t num_pages);

  /// The replica is gone: its requests wait again, with their Sequence, to be rebuilt elsewhere.
  void remove_replica(ReplicaId id);

  /// The next step of the replica; none when it has nothing to do or a step is outstanding.
  std::optional<StepPlan> next_step(ReplicaId id);

  /// Results of an old epoch or another step than the outstanding one are dropped.
  /// @throws Error{kTransport} if the result does not fit the plan (foreign request, wrong number
  ///         of measurements, token out of the vocabulary): the replica must be torn down.
  void apply(ReplicaId id, const StepResult& result);

  /// Fails the sequences whose deadline has passed. Call at least at next_deadline().
  void expire();
  std::optional<TimePoint> next_deadline() const;

  /// Refuses new work with kDraining; what runs or waits goes on.
  void drain();

  /// Fails everything that is running or waiting.
  void fail_all(const SequenceFailure& failure);

  /// News since the last call, in order.
  std::vector<SequenceUpdate> take_updates();

  bool is_idle() const;  ///< No sequence running or waiting.
  EngineStats stats() const;

  /// Throws Error{kInternal} naming the first broken invariant: pages leaked or owned twice, a
  /// frontier that moved back, a request in two queues.
  void check_integrity() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera

#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "coordinator/request/request_record.h"
#include "coordinator/scheduling/engine.h"
#include "coordinator/scheduling/replica.h"

namespace tessera {

/// Behind Engine. A request is in `waiting_` or runs on one replica:
///
///     submit -> waiting --admit--> running --finish--> gone
///                  ^                  |
///                  +-- preempt, lose the replica
///
/// and may fail from either. Admission is in service order without overtaking, so of two requests
/// of equal priority the older one is always running when the newer one is.
class Engine::Impl {
 public:
  Impl(const EngineOptions& options, const Clock& clock);

  // engine_impl.cpp: requests and replicas come and go.
  void submit(SequenceRequest request);
  std::optional<SequenceFailure> refusal() const;
  void cancel(RequestId id);
  void add_replica(ReplicaId id, std::uint64_t epoch, std::int32_t num_pages);
  void remove_replica(ReplicaId id);
  void expire();
  std::optional<TimePoint> next_deadline() const;
  void drain() { is_draining_ = true; }
  void fail_all(const SequenceFailure& failure);
  std::vector<SequenceUpdate> take_updates() { return std::exchange(updates_, {}); }
  bool is_idle() const { return records_.empty(); }
  EngineStats stats() const;

  // engine_step.cpp: one step of one replica.
  std::optional<StepPlan> next_step(ReplicaId id);
  void apply(ReplicaId id, const StepResult& result);

  // engine_integrity.cpp
  void check_integrity() const;

 private:
  struct ByServiceOrder {
    bool operator()(const RequestRecord* a, const RequestRecord* b) const {
      return a->order < b->order;
    }
  };

  void refuse(const SequenceRequest& request, SequenceFailure failure);
  bool fits_some_replica(const RequestRecord& record) const;
  std::string impossible_message(const RequestRecord& record) const;
  void refuse_impossible();
  void leave_replica(RequestRecord& record);
  void fail(RequestRecord& record, SequenceFailure failure);
  void forget(RequestRecord& record);
  RequestRecord* find(RequestId id);

  void admit_waiting();
  void admit(RequestRecord& record, Replica& replica, const PrefixHit& hit);
  void prepare_forwards(Replica& replica);
  bool cover_selected(Replica& replica);
  bool preempt_after(Replica& replica, std::size_t index);
  StepPlan emit(Replica& replica);
  SequenceSpan emit_span(Replica& replica, RequestRecord& record);
  void count_forward(const RequestRecord& record, const Span& piece);
  void count_rows(const RequestRecord& record, const Span& piece);

  void check_result(const OutstandingStep& expected, const StepResult& result);
  void advance(Replica& replica,
               RequestRecord& record,
               const OutstandingSpan& sent,
               const SpanResult& result);
  void report(RequestRecord& record, StepOutcome outcome);

  EngineOptions options_;
  const Clock& clock_;
  std::unordered_map<RequestId, std::unique_ptr<RequestRecord>> records_;
  std::set<RequestRecord*, ByServiceOrder> waiting_;
  std::map<ReplicaId, Replica> replicas_;
  std::set<std::pair<TimePoint, RequestId>> deadlines_;
  std::vector<SequenceUpdate> updates_;
  EngineStats stats_;
  std::uint64_t num_submitted_ = 0;
  bool is_draining_ = false;
  bool may_admit_ = false;  ///< Something changed since the first waiting request found no room.
};

}  // namespace tessera

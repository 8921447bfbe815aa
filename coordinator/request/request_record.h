#pragma once

#include <algorithm>
#include <compare>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/types.h"
#include "common/decoding/sequence.h"
#include "common/decoding/span.h"
#include "coordinator/request/sequence_request.h"
#include "coordinator/request/sequence_update.h"

namespace tessera {

/// Place of a request among others: smaller is served first and preempted last.
struct ServiceOrder {
  std::int32_t priority = 0;
  std::uint64_t age = 0;  ///< Number of submissions before it.

  friend std::strong_ordering operator<=>(const ServiceOrder& a, const ServiceOrder& b) {
    if (a.priority != b.priority) return b.priority <=> a.priority;
    return a.age <=> b.age;
  }
  friend bool operator==(const ServiceOrder&, const ServiceOrder&) = default;
};

/// One forward of a request, which the engine may send in pieces.
struct PendingForward {
  Span whole;                ///< As the strategy planned it.
  std::optional<Span> rest;  ///< What is left after the first piece was sent.
  bool is_rebuild = false;

  const Span& remaining() const { return rest ? *rest : whole; }
};

/// Everything the engine knows about one sequence. While it waits it has no replica, pages or
/// pending forward: `sequence` is all that has to survive.
struct RequestRecord {
  SequenceRequest request;  ///< Its prompt has moved into the sequence.
  ServiceOrder order;
  Sequence sequence;
  TimePoint submitted;
  std::int32_t max_kv_tokens = 0;  ///< Most positions whose K/V it can ever hold.
  std::int32_t reusable_len = 0;   ///< Strategy::reusable_prefix_len of its prompt.

  // Running.
  std::optional<ReplicaId> replica;
  std::vector<PageId> pages;              ///< Page table.
  std::int32_t num_registered_pages = 0;  ///< Leading ones, which the prefix cache knows.
  std::int32_t num_sent_pages = 0;        ///< Leading ones, which the ranks know.
  std::int32_t num_prefill_pages = 0;     ///< To hold what it must compute before it decodes.
  Position stored_len = 0;                ///< Pages hold the K/V of [0, stored_len).
  std::deque<Span> rebuild;               ///< Forwards to run before the next plan.
  std::optional<PendingForward> forward;
  Position piece_end = 0;  ///< End of the rows in the step being built; 0 for none.

  bool is_known_to_ranks = false;  ///< Some step contained it since it was admitted.

  // History.
  bool was_admitted = false;
  bool was_stepped = false;
  Position reported_end = 0;  ///< Output left of it was handed out.
  SequenceUsage usage;

  RequestId id() const { return request.id; }
  const StrategyTraits& traits() const { return request.strategy->traits(); }
  bool has_decoded() const { return sequence.num_steps > 0; }

  /// Whether its next rows only bring it to where decoding starts, or starts again.
  bool is_prefilling() const { return !rebuild.empty() || !has_decoded() || is_rebuilding(); }
  bool is_rebuilding() const { return forward && forward->is_rebuild; }

  /// Length of what must be stored before it decodes, or decodes again.
  Position target_len() const { return has_decoded() ? sequence.cached_len : sequence.prompt_len; }

  /// Length of the prefix that pages of others may hold in its stead: before its first step what
  /// the strategy allows, afterwards all that is final.
  Position replaceable_len() const { return has_decoded() ? sequence.cached_len : reusable_len; }

  /// Length of the prefix whose K/V is stored and final. What a hit could have replaced is final
  /// once stored, though the prompt's first step may still have pieces to run.
  Position final_len() const { return std::min(stored_len, replaceable_len()); }

  /// Forgets everything that belongs to a replica; its pages must have been released.
  void stop_running();

  /// News since the last call: output that became final, and the end if the sequence finished.
  /// Throws Error{kInternal} if the frontier moved back.
  SequenceUpdate take_news();

  /// The last update of a sequence that does not finish.
  SequenceUpdate failed(SequenceFailure failure) const;
};

}  // namespace tessera

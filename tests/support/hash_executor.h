#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "common/decoding/model_facts.h"
#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"
#include "tests/support/hash_model.h"
#include "tests/support/measure_reference.h"

namespace tessera {

/// A rank that needs no weights: runs step plans with the hash model over its own pages.
///
/// Reads and writes K/V only through the page tables that the plans' deltas build, so a wrong page,
/// a missing store or a stale slot changes every later token or throws. Measurements are those of
/// the oracle (fp64, rounded to fp32); randomness comes from each Measure alone. A plan of another
/// epoch is run by ranks that were started anew: everything but the seeds is forgotten.
///
/// Throws Error{kInternal} when a plan breaks a rule: a step that is not the next one, a page id
/// out of range or twice in a table, a table with a gap, a span that check_span() refuses, a
/// request twice in a step, a write to a page that another live request holds too, a row that reads
/// or writes beyond its page table, reads a slot that was never written or holds another position,
/// self-conditioning before the first canvas step.
///
/// Not thread-safe.
class HashExecutor {
 public:
  /// @param seed  Of the hash model, for requests without set_seed().
  HashExecutor(const ModelFacts& facts,
               std::uint64_t seed,
               std::int32_t page_size,
               std::int32_t num_pages,
               const MeasureRules& rules = {});

  /// Gives one request a model of its own. Requests that share pages need equal seeds.
  void set_seed(RequestId request, std::uint64_t seed);

  /// Runs one step. Result: rank 0, one measurement per Measure, no timing.
  StepResult run(const StepPlan& plan);

  /// Number of live page tables that hold `page`.
  std::int32_t num_owners(PageId page) const;

 private:
  struct Slot {
    HashKv kv;
    Position position = -1;  ///< -1: never written
  };
  struct Conditioning {
    Position first = 0;
    std::vector<TokenId> greedy;  ///< Per canvas position, of the last canvas step.
  };

  void forget_everything();
  void release(RequestId request);
  void apply_delta(const PageTableDelta& delta);
  std::size_t slot_index(RequestId request, Position position) const;
  const Slot& read(RequestId request, Position position) const;
  void require_writable(const SequenceSpan& span) const;
  HashKv cache_sum(const SequenceSpan& span) const;
  std::vector<HashRow> forward(const SequenceSpan& span);
  void attend_new_rows(const SequenceSpan& span, std::vector<HashRow>& rows) const;
  void attend_cache_only(const SequenceSpan& span, std::vector<HashRow>& rows);
  void store(const SequenceSpan& span, const std::vector<HashRow>& rows);
  SpanResult measure(const SequenceSpan& span, const std::vector<HashRow>& rows);
  HashModel model_of(RequestId request) const;
  void condition(const SequenceSpan& span, std::vector<HashRow>& rows) const;

  ModelFacts facts_;
  std::uint64_t seed_;
  std::int32_t page_size_;
  MeasureRules rules_;
  std::vector<Slot> slots_;
  std::vector<std::int32_t> num_owners_;  ///< By page.
  std::unordered_map<RequestId, std::vector<PageId>> page_tables_;
  std::unordered_map<RequestId, Conditioning> conditioning_;
  std::unordered_map<RequestId, std::uint64_t> seeds_;
  std::uint64_t epoch_ = 0;
  std::uint64_t last_step_ = 0;
};

}  // namespace tessera

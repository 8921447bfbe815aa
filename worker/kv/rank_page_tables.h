#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/decoding/step_plan.h"

namespace tessera {

/// A rank's copy of the page tables of the sequences that run, kept by the deltas of the plans.
/// Tables of released sequences keep their memory for later ones.
class RankPageTables {
 public:
  /// @param max_sequences  Most sequences known at a time.
  /// @param max_pages      Most pages of one sequence.
  RankPageTables(std::int32_t num_pages, std::int32_t max_sequences, std::int32_t max_pages);

  /// Forgets released sequences, then changes tables, then makes the sequences of the spans known.
  /// @throws Error{kInternal} for a page that does not exist, a table with a gap or longer than
  /// max_pages, a released sequence that is unknown, more sequences than max_sequences.
  void apply(const StepPlan& plan);

  /// Entry i: page of positions [i page_size, (i + 1) page_size). Valid until the next apply().
  /// @throws Error{kInternal} if the request is unknown.
  std::span<const PageId> table(RequestId request) const;

 private:
  std::vector<PageId>& find_or_add(RequestId request);
  void release(RequestId request);
  void change(const PageTableDelta& delta);

  std::int32_t num_pages_;
  std::size_t max_pages_;
  std::vector<std::vector<PageId>> tables_;
  std::vector<std::size_t> unused_;                     // indices of tables_
  std::unordered_map<RequestId, std::size_t> indices_;  // of tables_
};

}  // namespace tessera

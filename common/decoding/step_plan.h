#pragma once

#include <cstdint>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/span.h"

namespace tessera {

/// The rows of one sequence in a step.
struct SequenceSpan {
  RequestId request = 0;
  Span span;

  bool operator==(const SequenceSpan&) const = default;
};

/// Change of a page table that every rank mirrors: entries from `first_page_index` on become
/// `pages`, later entries disappear. Entry i holds positions [i page_size, (i + 1) page_size).
struct PageTableDelta {
  RequestId request = 0;
  std::int32_t first_page_index = 0;
  std::vector<PageId> pages;

  bool operator==(const PageTableDelta&) const = default;
};

/// What every rank of a replica does in one step. Applied in the order of the fields: released
/// sequences are forgotten (page table, self-conditioning), page tables change, spans run.
struct StepPlan {
  std::uint64_t epoch = 0;  ///< Of the replica; changes when its ranks are started anew.
  std::uint64_t step = 0;   ///< Ascending by one within an epoch, from 1.
  std::vector<RequestId> released;
  std::vector<PageTableDelta> page_table_deltas;
  std::vector<SequenceSpan> spans;  ///< Each request at most once.

  bool operator==(const StepPlan&) const = default;
};

}  // namespace tessera

#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/types.h"
#include "coordinator/request/request_record.h"
#include "coordinator/scheduling/engine.h"
#include "coordinator/scheduling/page_tables.h"

namespace tessera {

/// Rows of one request in a step whose result is awaited.
struct OutstandingSpan {
  RequestId request = 0;
  std::size_t num_measures = 0;
  Position stored_end = 0;  ///< Its pages hold [0, stored_end) afterwards.
  bool is_last_piece = false;
};

struct OutstandingStep {
  std::uint64_t step = 0;
  std::vector<OutstandingSpan> spans;
};

/// One replica as the scheduler sees it.
struct Replica {
  Replica(ReplicaId replica_id,
          std::uint64_t replica_epoch,
          std::int32_t num_pages,
          const EngineOptions& options)
      : id(replica_id),
        epoch(replica_epoch),
        tables(num_pages, options.page_size, options.prefix_cache) {}

  const ReplicaId id;
  const std::uint64_t epoch;
  PageTables tables;
  std::vector<RequestRecord*> running;   ///< By service order.
  std::int32_t reserved_rows = 0;        ///< Sum of max_buffer_rows of the running requests.
  std::vector<RequestId> released;       ///< Known to the ranks, to be forgotten in the next step.
  std::optional<RequestId> passed_over;  ///< Did not fit beside others last time: goes first.
  std::uint64_t last_step = 0;
  std::optional<OutstandingStep> outstanding;
};

}  // namespace tessera

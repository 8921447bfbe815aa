#include <algorithm>

#include "common/base/error.h"
#include "coordinator/scheduling/engine_impl.h"

namespace tessera {

void Engine::Impl::check_integrity() const {
  std::size_t num_running = 0;
  for (const auto& [id, replica] : replicas_) {
    std::int32_t reserved_rows = 0;
    for (const RequestRecord* record : replica.running) {
      TESSERA_CHECK(record->replica == id && !waiting_.contains(const_cast<RequestRecord*>(record)),
                    "request ", record->id(), " runs on replica ", id, " and somewhere else");
      reserved_rows += record->traits().max_buffer_rows;
    }
    TESSERA_CHECK(reserved_rows == replica.reserved_rows, "replica ", id, " reserves ",
                  replica.reserved_rows, " rows for ", reserved_rows);
    TESSERA_CHECK(std::ranges::is_sorted(replica.running, ByServiceOrder{}), "replica ", id,
                  " runs out of order");
    replica.tables.check_integrity(replica.running);
    num_running += replica.running.size();
  }
  TESSERA_CHECK(num_running + waiting_.size() == records_.size(), num_running, " running and ",
                waiting_.size(), " waiting of ", records_.size(), " requests");
  std::size_t num_deadlines = 0;
  for (const auto& [id, record] : records_) {
    TESSERA_CHECK(record->replica || (record->pages.empty() && !record->forward), "request ", id,
                  " waits and holds pages or rows");
    TESSERA_CHECK(record->sequence.frontier >= record->reported_end, "request ", id, ": frontier ",
                  record->sequence.frontier, " moved back from ", record->reported_end);
    if (!record->request.deadline) continue;
    ++num_deadlines;
    TESSERA_CHECK(deadlines_.contains({*record->request.deadline, id}), "request ", id,
                  " lost its deadline");
  }
  TESSERA_CHECK(num_deadlines == deadlines_.size(), "deadlines of finished requests");
}

}  // namespace tessera

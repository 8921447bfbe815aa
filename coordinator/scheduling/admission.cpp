#include "coordinator/scheduling/admission.h"

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>

namespace tessera {
namespace {

bool has_slot(const RequestRecord& record, const Replica& replica, const EngineOptions& options) {
  if (replica.running.empty()) return true;
  return static_cast<std::int32_t>(replica.running.size()) < options.max_running_requests &&
         replica.reserved_rows + record.traits().max_buffer_rows <= options.max_step_rows;
}

bool has_pages(const RequestRecord& record, const Replica& replica, const PrefixHit& hit) {
  const PageAllocator& pages = replica.tables.allocator();
  std::int32_t available = pages.num_free() + pages.num_cached() - hit.num_unreferenced;
  for (const RequestRecord* other : replica.running) {
    const auto held = static_cast<std::int32_t>(other->pages.size());
    available -= std::max(other->num_prefill_pages - held, 0) + 1;
  }
  const bool is_first = replica.running.empty();
  const std::int32_t needed =
      num_prefill_pages(record, replica.tables) - static_cast<std::int32_t>(hit.pages.size());
  return needed + (is_first ? 0 : 1) <= available;
}

std::int64_t num_queued_rows(const Replica& replica) {
  std::int64_t rows = 0;
  for (const RequestRecord* record : replica.running) {
    if (!record->is_prefilling()) continue;
    rows += std::max(record->target_len() - record->stored_len, 0);
  }
  return rows;
}

}  // namespace

bool could_ever_run(const RequestRecord& record, const Replica& replica) {
  return replica.tables.num_pages_for(record.max_kv_tokens) <=
         replica.tables.allocator().num_pages();
}

std::int32_t num_prefill_pages(const RequestRecord& record, const PageTables& tables) {
  return tables.num_pages_for(record.target_len());
}

std::optional<Placement> place(const RequestRecord& record,
                               std::map<ReplicaId, Replica>& replicas,
                               const EngineOptions& options) {
  const auto rank_of = [](const Placement& placement) {
    return std::tuple(-static_cast<std::int64_t>(placement.hit.pages.size()),
                      num_queued_rows(*placement.replica), placement.replica->running.size());
  };
  std::optional<Placement> best;
  for (auto& [id, replica] : replicas) {
    if (!could_ever_run(record, replica) || !has_slot(record, replica, options)) continue;
    Placement placement{&replica, replica.tables.find_prefix(record)};
    if (!has_pages(record, replica, placement.hit)) continue;
    if (!best || rank_of(placement) < rank_of(*best)) best = std::move(placement);
  }
  return best;
}

}  // namespace tessera

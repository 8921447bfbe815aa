#pragma once

#include <map>
#include <optional>

#include "common/base/types.h"
#include "coordinator/request/request_record.h"
#include "coordinator/scheduling/engine.h"
#include "coordinator/scheduling/replica.h"

namespace tessera {

/// Where a waiting request may start, and what it finds there.
struct Placement {
  Replica* replica = nullptr;
  PrefixHit hit;
};

/// Whether the request would fit an otherwise empty replica.
bool could_ever_run(const RequestRecord& record, const Replica& replica);

/// The replica the request should run on: among those that could start it now, the one with the
/// longest cached prefix, then the fewest prompt and rebuild rows to compute, then the fewest
/// running requests. None if all are full.
///
/// A replica can start a request while its rows, its number of requests and its pages allow: pages
/// for what it must compute before it decodes, for what the running ones still must compute, and
/// one more for each of them, so that the next commits do not preempt what was just admitted.
std::optional<Placement> place(const RequestRecord& record,
                               std::map<ReplicaId, Replica>& replicas,
                               const EngineOptions& options);

/// Pages that `record` must have before it decodes.
std::int32_t num_prefill_pages(const RequestRecord& record, const PageTables& tables);

}  // namespace tessera

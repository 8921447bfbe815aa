#pragma once

#include <cstdint>
#include <optional>

#include "common/base/types.h"
#include "common/decoding/span.h"
#include "coordinator/scheduling/replica.h"

namespace tessera {

/// End of the longest leading piece of `span` of at most `max_rows` rows: the whole span, or a cut
/// at a multiple of `quantum` (0: never cut). None if even the shortest piece is longer.
std::optional<Position> longest_piece_end(const Span& span,
                                          std::int32_t quantum,
                                          std::int32_t max_rows);

/// End of the shortest piece that may run.
Position shortest_piece_end(const Span& span, std::int32_t quantum);

/// Sets `piece_end` of the running requests, which all have a pending forward, to the rows they
/// get in the next step of at most `max_rows` rows.
///
/// Decoding requests come first, then prompts and rebuilds fill what is left, each group in service
/// order. A piece that found no room goes first in the next step, but never twice in a row, so that
/// neither group waits for the other for more than a step; if it alone exceeds the budget it runs
/// alone. Requests are admitted only while max_buffer_rows of all fit the budget: decoding requests
/// that can be chunked always fit.
void select_rows(Replica& replica, std::int32_t max_rows);

/// Gives the first request of the service order alone rows in the next step.
void select_first_alone(Replica& replica, std::int32_t max_rows);

}  // namespace tessera

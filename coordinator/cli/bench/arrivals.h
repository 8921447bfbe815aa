#pragma once

#include <cstdint>
#include <vector>

#include "common/base/clock.h"

namespace tessera {

/// When requests of an open loop arrive, counted from the start: a Poisson process, whose gaps are
/// exponential with mean 1 / rate. The first one comes after a gap, too.
/// @param rate  Requests per second, > 0.
/// @return      Ascending; the same for the same seed on every machine.
std::vector<Duration> poisson_arrivals(std::size_t count, double rate, std::uint64_t seed);

}  // namespace tessera

#pragma once

#include <cstdint>

namespace tessera::benchmarks {

/// Bytes of this process that are in memory now, file pages that it has mapped included.
std::int64_t resident_bytes();

/// The most that resident_bytes() has been since reset_peak_resident().
std::int64_t peak_resident_bytes();

void reset_peak_resident();

}  // namespace tessera::benchmarks

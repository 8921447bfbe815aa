#pragma once

#include <cstddef>
#include <vector>

namespace tessera {

/// What reports say of a set of values; all zero if there are none.
struct Distribution {
  std::size_t count = 0;
  double mean = 0.0;
  double p50 = 0.0;
  double p90 = 0.0;
  double p95 = 0.0;
  double p99 = 0.0;
  double max = 0.0;
};

Distribution distribution_of(std::vector<double> values);

/// Interpolated between neighbours: rank fraction * (n - 1).
/// @param ascending  Sorted, not empty.
/// @param fraction   0 to 1
double percentile(const std::vector<double>& ascending, double fraction);

}  // namespace tessera

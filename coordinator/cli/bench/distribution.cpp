#include "coordinator/cli/bench/distribution.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "common/base/error.h"

namespace tessera {

double percentile(const std::vector<double>& ascending, double fraction) {
  TESSERA_CHECK(!ascending.empty(), "a percentile of nothing");
  const double rank = fraction * static_cast<double>(ascending.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(rank));
  const std::size_t above = std::min(below + 1, ascending.size() - 1);
  const double weight = rank - static_cast<double>(below);
  return ascending[below] + weight * (ascending[above] - ascending[below]);
}

Distribution distribution_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  Distribution result;
  result.count = values.size();
  result.mean =
      std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
  result.p50 = percentile(values, 0.50);
  result.p90 = percentile(values, 0.90);
  result.p95 = percentile(values, 0.95);
  result.p99 = percentile(values, 0.99);
  result.max = values.back();
  return result;
}

}  // namespace tessera

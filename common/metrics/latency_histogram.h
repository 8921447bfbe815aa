#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "common/base/clock.h"

namespace tessera {

/// Counts of durations in fixed buckets: a plain value that its owner updates without a lock and
/// hands out as a copy. Allocates nothing.
struct LatencyHistogram {
  /// Upper bounds in seconds, inclusive; one more bucket holds what is longer. Steps of published
  /// systems take 7 to 11 ms and those of a small model on a CPU well under one, hence both ends.
  static constexpr std::array<double, 20> kBounds = {1e-5, 2.5e-5, 5e-5, 1e-4,  2.5e-4, 5e-4, .001,
                                                     .002, .003,   .005, .0075, .01,    .015, .02,
                                                     .03,  .05,    .1,   .25,   1,      5};

  std::array<std::uint64_t, kBounds.size() + 1> counts{};  ///< Per bucket, not cumulative.
  double sum_seconds = 0.0;

  void observe(Duration duration) {
    observe_seconds(std::chrono::duration<double>(duration).count());
  }

  void observe_seconds(double seconds) {
    const auto bound = std::lower_bound(kBounds.begin(), kBounds.end(), seconds);
    ++counts[static_cast<std::size_t>(bound - kBounds.begin())];
    sum_seconds += seconds;
  }

  std::uint64_t count() const {
    std::uint64_t total = 0;
    for (const std::uint64_t in_bucket : counts) total += in_bucket;
    return total;
  }
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/measurement.h"

namespace tessera {

/// What a span learned: one measurement per Span::measures entry, in the same order.
struct SpanResult {
  RequestId request = 0;
  std::vector<Measurement> measurements;

  bool operator==(const SpanResult&) const = default;
};

/// Seconds one rank spent in a step.
struct StepTiming {
  double compute_seconds = 0.0;     ///< Kernels, without waiting for other ranks.
  double collective_seconds = 0.0;  ///< Collectives, including waiting for the slowest rank.

  bool operator==(const StepTiming&) const = default;
};

/// Answer of one rank to a StepPlan. Every rank reports; rank 0's carries the measurements.
struct StepResult {
  std::uint64_t epoch = 0;
  std::uint64_t step = 0;
  std::int32_t rank = 0;
  std::vector<SpanResult> spans;  ///< In the order of the plan; empty on other ranks.
  StepTiming timing;

  bool operator==(const StepResult&) const = default;
};

}  // namespace tessera

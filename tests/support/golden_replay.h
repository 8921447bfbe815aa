#pragma once

#include <vector>

#include "common/decoding/span.h"
#include "tests/support/golden_file.h"

namespace tessera {

/// Turns the steps of a trace into spans and measurements, without any strategy: proves that the
/// types of the seam can say what every strategy of the oracle does.
class GoldenReplay {
 public:
  explicit GoldenReplay(const Golden& golden);

  /// The span of the next step of the trace, in order.
  Span span(const GoldenStep& step) const;

  /// Takes over what the step wrote.
  void advance(const GoldenStep& step);

 private:
  Measure measure(const GoldenStep& step, const GoldenMeasured& measured) const;
  Measure canvas_measure(Position position) const;
  TokenId token_at(Position position) const;

  const Golden& golden_;
  std::vector<TokenId> tokens_;
  std::int32_t denoising_step_ = 0;  ///< Of the current canvas.
};

/// What the trace says a worker reported, one per measured row.
std::vector<Measurement> recorded_measurements(const GoldenStep& step);

}  // namespace tessera

#pragma once

#include <vector>

#include "benchmarks/serving/overhead_load.h"

namespace tessera {

/// Microseconds of every step, one value per step.
struct PhaseTimes {
  std::vector<double> schedule;       ///< Engine::next_step: plans of all requests.
  std::vector<double> encode;         ///< Plan to bytes.
  std::vector<double> decode;         ///< Bytes to plan, on the rank.
  std::vector<double> encode_result;  ///< On the rank.
  std::vector<double> decode_result;
  std::vector<double> apply;  ///< Engine::apply and take_updates.
  double frame_bytes = 0.0;   ///< Mean size of a plan.
};

/// Runs the engine and the codec without threads and sockets, each phase between two looks at the
/// clock, once all requests decode.
PhaseTimes measure_phases(const OverheadLoad& load);

}  // namespace tessera

#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "common/metrics/latency_histogram.h"
#include "coordinator/request/engine_client.h"
#include "coordinator/request/engine_stats.h"

namespace tessera {

/// Where the time of an engine step goes, as the coordinator sees it.
enum class StepPhase : std::uint8_t {
  kSchedule,  ///< Choosing the running set, pages, building the plan.
  kWire,  ///< Encoding, both ways through the sockets, decoding: round trip less the ranks' time.
  kCompute,     ///< Slowest rank, collectives excluded.
  kCollective,  ///< Slowest rank: waiting for and moving data between ranks.
  kApply,       ///< Advancing the sequences, handing tokens to the front end.
};

inline constexpr std::array<std::string_view, 5> kStepPhaseNames = {"schedule", "wire", "compute",
                                                                    "collective", "apply"};

struct RankMetrics {
  RankStatus status;
  double compute_seconds = 0.0;     ///< Total since the rank joined.
  double collective_seconds = 0.0;  ///< Total since the rank joined.
};

struct ReplicaMetrics {
  ReplicaId id = 0;
  std::uint64_t num_restarts = 0;  ///< Times it was torn down and started again.
  std::array<LatencyHistogram, kStepPhaseNames.size()> step_seconds;  ///< By StepPhase.
  std::vector<RankMetrics> ranks;
};

/// What the engine and the cluster know for /metrics: a copy taken at a scrape. Totals never
/// decrease in the life of the coordinator, except those of a rank, which start again with it.
struct ClusterMetrics {
  ServerState state = ServerState::kStarting;
  EngineStats engine;
  std::vector<ReplicaMetrics> replicas;
};

}  // namespace tessera

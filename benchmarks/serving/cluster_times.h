#pragma once

#include <string>
#include <vector>

#include "benchmarks/serving/overhead_load.h"

namespace tessera {

/// Microseconds of every step of a running cluster, seen by the rank.
struct ClusterTimes {
  std::vector<double> step;      ///< From one step's arrival at the model to the next one's.
  std::vector<double> executor;  ///< Of those, inside the model that has no layers.
};

/// Runs an engine thread and a rank process (the real rank loop over ZeroMQ) under the load. Forks:
/// the calling process must have one thread.
/// @param endpoint  Where the coordinator listens, e.g. tcp://127.0.0.1:*
ClusterTimes measure_cluster(const OverheadLoad& load, const std::string& endpoint);

/// The same with the HTTP front end, and one client per request that reads its stream: a third
/// process.
ClusterTimes measure_server(const OverheadLoad& load, const std::string& endpoint);

}  // namespace tessera

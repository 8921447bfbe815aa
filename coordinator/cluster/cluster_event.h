#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "common/base/types.h"

namespace tessera {

enum class ClusterEventKind : std::uint8_t {
  kRankJoined,     ///< A rank said Hello and fits.
  kRankRefused,    ///< A rank said Hello and does not fit; it is told why.
  kReplicaReady,   ///< All ranks of a job are ready; it takes steps from now on.
  kReplicaLost,    ///< A rank is gone or hangs, or the job did not become ready in time.
  kNoReplicaLeft,  ///< Nobody will run the requests: they ended with kRankLost.
  kForeignFrame,   ///< Something that is no rank sent something that is no frame.
  kEngineFailed,   ///< The engine broke an invariant of its own; the thread has ended.
};

/// What happens in the cluster, for the log and for the supervisor.
struct ClusterEvent {
  ClusterEventKind kind = ClusterEventKind::kRankJoined;
  ReplicaId replica = -1;  ///< -1: none
  std::string job_id;      ///< Empty: none
  std::string text;        ///< One sentence for people.
};

/// Called on the engine thread; must not block.
using ClusterListener = std::function<void(const ClusterEvent&)>;

}  // namespace tessera

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <zmq.hpp>

#include "worker/runtime/rank_executor.h"

namespace tessera {

/// Who a rank is and where its coordinator listens.
struct RankLoopOptions {
  std::string coordinator;  ///< tcp://HOST:PORT or ipc://PATH
  std::string token;        ///< Shared secret; empty where none is asked for.
  std::string job_id;       ///< The same on all ranks of the job, unique among jobs.
  std::string host;
  std::int32_t rank = 0;
  std::int32_t tp = 1;
  std::chrono::milliseconds coordinator_timeout{10'000};  ///< Longest silence of the coordinator.
};

/// How a rank's life ended.
enum class RankExit : std::uint8_t {
  kShutdown,  ///< The coordinator said so: exit with 0.
  kRefused,   ///< The rank does not fit: a matter of configuration.
  kLost,      ///< The replica was torn down, or the coordinator is silent.
};

struct RankOutcome {
  RankExit exit = RankExit::kShutdown;
  std::string reason;  ///< One sentence for the log.
};

/// Joins the coordinator and runs steps until it says goodbye. Blocks.
///
/// Beside the calling thread a small one keeps a connection of its own for the heartbeats, so that
/// a long step does not look dead, and so that a rank that waits in a collective for a dead one
/// still hears that its replica is lost.
///
/// @param on_abandoned  Called on the heartbeat thread when the replica is lost or the coordinator
///                      silent while the calling thread may hang in a step: ends the process. If
///                      it returns, the loop ends as soon as the step does.
/// @throws what executor.run() throws, after it was reported to the coordinator.
RankOutcome run_rank(zmq::context_t& context,
                     const RankLoopOptions& options,
                     RankExecutor& executor,
                     const std::function<void(const std::string& reason)>& on_abandoned);

}  // namespace tessera

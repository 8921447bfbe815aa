#pragma once

#include <optional>
#include <string>

#include "common/config/config.h"

namespace tessera {

/// What `main` reads from the environment, where the supervisor and the launcher put it.
struct CoordinatorEnvironment {
  std::string token;                ///< TESSERA_CONTROL_TOKEN; control_token_file wins.
  std::optional<int> supervisor;    ///< TESSERA_SUPERVISOR_FD, see SupervisorLink.
  bool exits_on_rank_loss = false;  ///< TESSERA_EXIT_ON_RANK_LOSS=1: the one-job form.
};

/// Serves until SIGTERM or SIGINT: then drains, at most drain_timeout; a second signal ends at
/// once. Call before any other thread exists: the signals are blocked in all of them.
///
/// @return  Exit code: 0; 68 when the ranks of a one-job form are lost; 70 when the engine failed.
/// @throws Error{kInvalidArgument} or Error{kTransport} for what the configuration does wrong.
int run_coordinator(const ServerConfig& config, const CoordinatorEnvironment& environment);

}  // namespace tessera

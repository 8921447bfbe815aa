#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace tessera {

/// A coordinator's command in the one-job form, read and completed.
struct CoordinatorCommand {
  std::vector<std::string> words;  ///< Program and flags.
  std::string endpoint;            ///< Where workers connect to.
  std::string token;               ///< What workers must show.
  std::string log_level;           ///< As the coordinator's: the launcher logs like it.
  std::string log_format;
};

/// @param command, token  As for run_launcher(). @throws Error{kInvalidArgument}
CoordinatorCommand complete_command(const std::vector<std::string>& command,
                                    const std::string& token);

/// Starts it in a process group of its own, so that mpirun, which signals the groups of its
/// processes, does not end it while it still answers its clients. It gets a SIGTERM when this
/// process dies. Its environment has the token and TESSERA_EXIT_ON_RANK_LOSS=1; its signal mask is
/// empty.
pid_t start_coordinator(const CoordinatorCommand& command);

}  // namespace tessera

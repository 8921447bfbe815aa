#pragma once

#include <string>
#include <vector>

namespace tessera {

/// The command line of tessera-worker, by role.
struct WorkerArguments {
  std::vector<const char*> flags;    ///< Of a rank: what is left for read_config, argv[0] first.
  std::vector<std::string> command;  ///< Of the launcher: the coordinator's; empty: a rank.

  bool is_launcher() const noexcept { return !command.empty(); }
};

/// Splits `--role launcher -- PROGRAM ARGS` from the flags of a rank (`--role worker`, the
/// default).
/// @throws Error{kInvalidArgument} for another role, a launcher with flags of its own or without a
/// command.
WorkerArguments split_role(int argc, const char* const* argv);

}  // namespace tessera

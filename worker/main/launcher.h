#pragma once

#include <string>
#include <vector>

namespace tessera {

/// The launcher of the one-job form,
///
///     mpirun -n 1 tessera-worker --role launcher -- tessera-coordinator ARGS : -n TP ...
///
/// Process 0 of the job: starts the coordinator as its child and tells the workers where it
/// listens, with a token that only they know. SIGTERM and SIGINT go to the coordinator, which
/// drains. Ends as the coordinator does; with another code than 0 the whole job ends.
///
/// Unless the coordinator's arguments name a control endpoint, it is a socket that only processes
/// of this host can connect to.
///
/// @param command   The coordinator's program and arguments.
/// @param token     Shared secret if the coordinator's arguments name no file with one; empty: a
///                  random one.
/// @param job_id    Empty: a random one.
/// @return  Exit code, after a coordinator that ended with 0.
/// @throws Error{kInvalidArgument} for what is wrong with the command, before MPI starts.
int run_launcher(const std::vector<std::string>& command,
                 const std::string& token,
                 const std::string& job_id);

}  // namespace tessera

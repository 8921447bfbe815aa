#pragma once

#include <string>

#include "common/config/config.h"
#include "coordinator/cli/serve/child_process.h"

namespace tessera {

struct ServePrograms {
  std::string coordinator;
  std::string worker;
  std::string mpirun = "mpirun";
};

/// @param token  Secret of this start. By environment only: command lines can be read by everybody.
/// @param link   The coordinator's end of the CoordinatorLink.
ChildCommand coordinator_command(const ServerConfig& config,
                                 const ServePrograms& programs,
                                 const std::string& token,
                                 int link);

/// `mpirun -n TP tessera-worker`, with what ranks of one machine need: they may share cores, and
/// one that waits yields. Without threads_per_rank the cores are shared out among the ranks of all
/// replicas; a rank alone could only know its own replica.
ChildCommand job_command(const ServerConfig& config,
                         const ServePrograms& programs,
                         const std::string& token,
                         const std::string& job_id,
                         const std::string& control_endpoint);

}  // namespace tessera

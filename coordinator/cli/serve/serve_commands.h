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
/// one that waits yields.
/// @param slot  Number of the replica: each has its share of the CPUs, which its ranks share out.
ChildCommand job_command(const ServerConfig& config,
                         const ServePrograms& programs,
                         const std::string& token,
                         const std::string& job_id,
                         const std::string& control_endpoint,
                         std::int32_t slot);

/// The CPUs of a replica: of `cpus` the slot-th of `num_replicas` parts in a row, whose sizes
/// differ by one at most. All of them when there are fewer than replicas.
std::vector<int> cpus_of_replica(const std::vector<int>& cpus,
                                 std::int32_t slot,
                                 std::int32_t num_replicas);

}  // namespace tessera

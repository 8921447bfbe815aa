#pragma once

#include <mpi.h>
#include <sched.h>

#include <cstdint>
#include <string>
#include <vector>

namespace tessera {

/// Where the ranks of a job run.
struct HostRanks {
  std::vector<std::string> host_of_rank;  ///< Host names, in the order of ranks.
  std::int32_t local_rank = 0;            ///< This rank among those of its host.
  std::vector<cpu_set_t> local_cpus;      ///< CPUs that each rank of this host may run on.

  std::int32_t num_local() const noexcept { return static_cast<std::int32_t>(local_cpus.size()); }
  bool is_one_host() const noexcept { return local_cpus.size() == host_of_rank.size(); }
};

/// Asks the ranks. Collective. Ranks are of one host if they can share memory.
HostRanks find_host_ranks(MPI_Comm communicator);

/// This machine's name.
std::string host_name();

}  // namespace tessera

#pragma once

#include <sched.h>

#include <cstdint>
#include <span>
#include <vector>

namespace tessera {

/// Compute threads of a rank and where they run.
struct CpuShare {
  std::int32_t num_threads = 1;
  /// One CPU per thread that no other rank of the host is given. Empty: there are not enough, the
  /// threads are not pinned and ranks must not spin while they wait.
  std::vector<std::int32_t> cpus;
};

/// Deals out the CPUs of a host to its ranks, in the order of ranks; every rank computes the same.
///
/// @param allowed      CPUs that each rank of the host may run on: all of the machine's, or what
///                     mpirun, taskset or a container leaves.
/// @param local_rank   Whose share is asked for.
/// @param num_threads  Per rank; 0: as many as every rank can have to itself, at least one.
CpuShare share_cpus(std::span<const cpu_set_t> allowed,
                    std::int32_t local_rank,
                    std::int32_t num_threads);

}  // namespace tessera

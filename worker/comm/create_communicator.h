#pragma once

#include <mpi.h>

#include <memory>
#include <string>

#include "worker/comm/communicator.h"
#include "worker/comm/host_ranks.h"
#include "worker/comm/slot_exchange.h"

namespace tessera {

/// The communicator of a job's ranks. Collective.
///
/// @param communicator  All ranks of the replica; borrowed.
/// @param kind          "auto": shared memory if all ranks are of one host, else MPI;
///                      "shared_memory" or "mpi" asks for one. A single rank needs neither.
/// @throws Error{kInvalidArgument} for another kind, and for shared memory across hosts, naming
///         them; Error{kDevice} if the system has no shared memory to give.
std::unique_ptr<Communicator> create_communicator(MPI_Comm communicator,
                                                  const std::string& kind,
                                                  const HostRanks& hosts,
                                                  const WaitOptions& wait);

}  // namespace tessera

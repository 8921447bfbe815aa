#pragma once

#include <functional>
#include <memory>
#include <string>

#include "worker/runtime/mpi_session.h"
#include "worker/runtime/rank_executor.h"
#include "worker/runtime/rank_loop.h"

namespace tessera {

/// What a rank of a job is told by its command line and environment.
struct WorkerJobOptions {
  std::string coordinator;  ///< Empty: the one that the first process of the job names.
  std::string token;        ///< Of the job's first process, the launcher in the one-job form,
                            ///< counts for all. May be empty.
  std::string job_id;       ///< Likewise; empty: a random one.
  std::chrono::milliseconds coordinator_timeout{10'000};
};

/// Runs one rank from the load of its model to the coordinator's goodbye. Logs what ends it.
/// Returns only after an orderly shutdown, with 0: everything else ends the whole job
/// through MPI with one of WorkerExit.
///
/// @param load  Makes the executor; collective over `mpi.communicator()`.
int run_worker_job(MpiSession& mpi,
                   const WorkerJobOptions& options,
                   const std::function<std::unique_ptr<RankExecutor>()>& load);

}  // namespace tessera

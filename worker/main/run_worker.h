#pragma once

#include <string>

#include "common/config/config.h"

namespace tessera {

/// What `main` reads from the environment, where supervisors put what is no configuration.
struct WorkerEnvironment {
  std::string token;   ///< TESSERA_CONTROL_TOKEN; control_token_file wins.
  std::string job_id;  ///< TESSERA_JOB_ID
};

/// One rank of a job: MPI, CPUs, communicator, model, then steps until the coordinator says
/// goodbye. Logs what ends it.
///
/// @return  0 after an orderly shutdown; otherwise the job ends with one of WorkerExit.
int run_worker(const ServerConfig& config, const WorkerEnvironment& environment);

}  // namespace tessera

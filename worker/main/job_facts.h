#pragma once

#include <string>

#include "worker/runtime/mpi_session.h"

namespace tessera {

/// What the first process of a job tells the others: the launcher in the one-job form, else the
/// first worker.
struct JobFacts {
  std::string coordinator;  ///< Where workers connect to; empty where each has its own.
  std::string token;        ///< Shared with the coordinator; may be empty.
  std::string job_id;       ///< Unique among jobs.
  std::string host;         ///< Where the first process runs.
};

/// The facts of the first process. Collective over the whole job.
JobFacts share_job_facts(const MpiSession& mpi, const JobFacts& mine);

/// 128 random bits in hexadecimal: an identity or a secret.
std::string random_id();

/// Whether only processes of the same host can connect to the endpoint.
bool is_local_endpoint(const std::string& endpoint);

}  // namespace tessera

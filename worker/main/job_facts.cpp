#include "worker/main/job_facts.h"

#include <iomanip>
#include <random>
#include <sstream>

namespace tessera {

JobFacts share_job_facts(const MpiSession& mpi, const JobFacts& mine) {
  JobFacts facts;
  facts.coordinator = mpi.broadcast(mine.coordinator);
  facts.token = mpi.broadcast(mine.token);
  facts.job_id = mpi.broadcast(mine.job_id);
  facts.host = mpi.broadcast(mine.host);
  return facts;
}

std::string random_id() {
  std::random_device device;  // an identity, not a random number of decoding
  std::ostringstream id;
  for (int i = 0; i < 4; ++i) id << std::hex << std::setw(8) << std::setfill('0') << device();
  return id.str();
}

bool is_local_endpoint(const std::string& endpoint) {
  return endpoint.starts_with("ipc://") || endpoint.starts_with("tcp://127.") ||
         endpoint.starts_with("tcp://localhost:");
}

}  // namespace tessera

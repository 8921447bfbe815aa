// A worker whose model is the hash model: a whole process under mpirun for tests of the cluster.
// Usage: hash_worker ENDPOINT TOKEN JOB_ID
#include <cstdio>

#include "tests/integration/cluster/hash_rank_executor.h"
#include "worker/main/worker_job.h"

int main(int argc, char** argv) {
  if (argc != 4) {
    std::fprintf(stderr, "usage: hash_worker ENDPOINT TOKEN JOB_ID\n");
    return 64;
  }
  tessera::MpiSession mpi(/*is_launcher=*/false);
  tessera::WorkerJobOptions options;
  options.coordinator = argv[1];
  options.token = argv[2];
  options.job_id = argv[3];
  return tessera::run_worker_job(mpi, options, [&] {
    return std::make_unique<tessera::testing::HashRankExecutor>(mpi.rank(), "hash");
  });
}

// tessera-worker with the hash model in place of a network: the same flags and environment. Reads
// only the facts of the checkpoint, so that it starts at once. TESSERA_TEST_FAULT makes it a bad
// one: "hang" never joins, a number is the exit code it ends with at once.
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <string>

#include "common/base/error.h"
#include "common/config/config.h"
#include "common/model_spec/model_spec.h"
#include "tests/integration/cluster/hash_rank_executor.h"
#include "worker/main/worker_job.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

void misbehave(const std::string& fault) {
  if (fault.empty()) return;
  std::fprintf(stderr, "this worker was told to misbehave: %s\n", fault.c_str());
  if (fault != "hang") std::exit(std::atoi(fault.c_str()));
  for (;;) pause();
}

}  // namespace

int main(int argc, char** argv) {
  misbehave(variable("TESSERA_TEST_FAULT"));
  const auto config = tessera::read_config(tessera::Program::kWorker, argc, argv, std::cout);
  tessera::MpiSession mpi(/*is_launcher=*/false);
  tessera::WorkerJobOptions options;
  options.coordinator = config.value().coordinator;
  options.token = variable("TESSERA_CONTROL_TOKEN");
  options.job_id = variable("TESSERA_JOB_ID");
  return tessera::run_worker_job(mpi, options, [&] {
    const auto facts = tessera::facts_of(tessera::read_model_spec(config->model));
    return std::make_unique<tessera::testing::HashRankExecutor>(mpi.rank(), "hash", facts);
  });
}

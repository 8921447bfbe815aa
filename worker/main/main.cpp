#include <cstdio>
#include <cstdlib>
#include <exception>
#include <iostream>
#include <string>

#include "common/base/error.h"
#include "common/config/config.h"
#include "worker/main/launcher.h"
#include "worker/main/run_worker.h"
#include "worker/main/worker_arguments.h"
#include "worker/runtime/mpi_session.h"

namespace {

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

int run(int argc, const char* const* argv) {
  using namespace tessera;
  const WorkerEnvironment environment{variable("TESSERA_CONTROL_TOKEN"),
                                      variable("TESSERA_JOB_ID")};
  const WorkerArguments arguments = split_role(argc, argv);
  if (arguments.is_launcher()) {
    return run_launcher(arguments.command, environment.token, environment.job_id);
  }
  const auto config = read_config(Program::kWorker, static_cast<int>(arguments.flags.size()),
                                  arguments.flags.data(), std::cout);
  return config ? run_worker(*config, environment) : 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "tessera-worker: %s\n", error.what());
    return static_cast<int>(tessera::worker_exit_of(error.code()));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "tessera-worker: %s\n", error.what());
    return static_cast<int>(tessera::WorkerExit::kInternal);
  }
}

#include "coordinator/cli/serve/serve_commands.h"

#include <algorithm>
#include <thread>

namespace tessera {
namespace {

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

std::int32_t threads_of_each_rank(const ServerConfig& config) {
  const auto num_cores = static_cast<std::int32_t>(std::thread::hardware_concurrency());
  return std::max(1, num_cores / (config.tp * config.replicas));
}

}  // namespace

ChildCommand coordinator_command(const ServerConfig& config,
                                 const ServePrograms& programs,
                                 const std::string& token,
                                 int link) {
  ChildCommand command;
  command.arguments = {programs.coordinator};
  append(command.arguments, config_flags(config, Program::kCoordinator));
  command.environment = {"TESSERA_CONTROL_TOKEN=" + token,
                         "TESSERA_SUPERVISOR_FD=" + std::to_string(link)};
  command.inherited = link;
  return command;
}

ChildCommand job_command(const ServerConfig& config,
                         const ServePrograms& programs,
                         const std::string& token,
                         const std::string& job_id,
                         const std::string& control_endpoint) {
  ServerConfig of_rank = config;
  of_rank.coordinator = control_endpoint;
  if (config.threads_per_rank == 0 && config.replicas > 1) {
    of_rank.threads_per_rank = threads_of_each_rank(config);
  }
  ChildCommand command;
  command.arguments = {programs.mpirun, "--quiet", "--oversubscribe",         "--bind-to",
                       "none",          "-n",      std::to_string(config.tp), programs.worker};
  append(command.arguments, config_flags(of_rank, Program::kWorker));
  command.environment = {"TESSERA_CONTROL_TOKEN=" + token, "TESSERA_JOB_ID=" + job_id,
                         // mpirun refuses root, the usual user of a container, without these.
                         "OMPI_ALLOW_RUN_AS_ROOT=1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1",
                         // A waiting rank that spins would take the core of one that computes.
                         "OMPI_MCA_mpi_yield_when_idle=1", "OMPI_MCA_pml=ob1",
                         "OMPI_MCA_btl=self,vader",
                         "OMPI_MCA_btl_vader_single_copy_mechanism=none"};
  return command;
}

}  // namespace tessera

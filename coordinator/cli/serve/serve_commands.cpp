#include "coordinator/cli/serve/serve_commands.h"

#include <sched.h>

#include <cstddef>

#include "common/base/error.h"

namespace tessera {
namespace {

void append(std::vector<std::string>& words, const std::vector<std::string>& more) {
  words.insert(words.end(), more.begin(), more.end());
}

/// Those that this process may run on.
std::vector<int> own_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  TESSERA_CHECK(sched_getaffinity(0, sizeof(set), &set) == 0, "sched_getaffinity failed");
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
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
                         const std::string& control_endpoint,
                         std::int32_t slot) {
  ServerConfig of_rank = config;
  of_rank.coordinator = control_endpoint;
  of_rank.first_device = config.first_device + slot * config.tp;
  ChildCommand command;
  if (config.replicas > 1) command.cpus = cpus_of_replica(own_cpus(), slot, config.replicas);
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

std::vector<int> cpus_of_replica(const std::vector<int>& cpus,
                                 std::int32_t slot,
                                 std::int32_t num_replicas) {
  const auto count = static_cast<std::ptrdiff_t>(cpus.size());
  if (count < num_replicas) return cpus;
  return {cpus.begin() + count * slot / num_replicas,
          cpus.begin() + count * (slot + 1) / num_replicas};
}

}  // namespace tessera

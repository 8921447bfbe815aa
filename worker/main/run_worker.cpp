#include "worker/main/run_worker.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <fstream>
#include <memory>
#include <utility>

#include "common/base/error.h"
#include "common/log/log_setup.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/poll_until.h"
#include "worker/main/cpu_share.h"
#include "worker/main/load_progress.h"
#include "worker/main/worker_job.h"
#include "worker/runtime/model_executor.h"
#include "worker/runtime/mpi_session.h"

namespace tessera {
namespace {

std::string control_token(const ServerConfig& config, const WorkerEnvironment& environment) {
  if (config.control_token_file.empty()) return environment.token;
  std::string line;
  std::ifstream file(config.control_token_file);
  TESSERA_REQUIRE(std::getline(file, line) && !line.empty(), "cannot read a token from ",
                  config.control_token_file);
  return line;
}

WorkerJobOptions job_options(const ServerConfig& config, const WorkerEnvironment& environment) {
  WorkerJobOptions options;
  options.coordinator = config.coordinator;
  options.token = control_token(config, environment);
  options.job_id = environment.job_id;
  options.coordinator_timeout = config.coordinator_timeout;
  return options;
}

ModelExecutorOptions executor_options(const ServerConfig& config,
                                      CpuShare cpus,
                                      std::int32_t local_rank,
                                      bool is_first) {
  ModelExecutorOptions options;
  options.model_dir = config.model;
  options.load_format = load_format_from_name(config.load_format);
  if (config.expert_parallel) options.experts = ExpertSharding::kByExpert;
  options.backend = config.backend;
  options.device = config.first_device + local_rank;
  options.deterministic = config.deterministic;
  options.eager = config.eager;
  options.device_collectives = device_collectives_from_name(config.device_collectives);
  options.wait_timeout = config.join_timeout;
  options.instruction_set = config.instruction_set == "auto" ? "" : config.instruction_set;
  options.num_threads = cpus.num_threads;
  options.cpus = std::move(cpus.cpus);
  options.kv_memory_bytes = kv_memory_bytes(config);
  if (is_first) {
    options.on_load_progress = [progress = LoadProgress(isatty(STDERR_FILENO) != 0)](
                                   std::int64_t done, std::int64_t total) mutable {
      progress.show(done, total);
    };
    options.on_graph_progress = [](std::size_t made, std::size_t all) {
      if (made == all || made % 32 == 0) spdlog::info("{} of {} CUDA graphs", made, all);
    };
  }
  return options;
}

int run_rank_of_job(MpiSession& mpi,
                    const ServerConfig& config,
                    const WorkerEnvironment& environment) {
  const WorkerJobOptions job = job_options(config, environment);
  const HostRanks hosts = find_host_ranks(mpi.communicator());
  const CpuShare cpus = share_cpus(hosts.local_cpus, hosts.local_rank, config.threads_per_rank);
  spdlog::info("{} threads on {}, {}", cpus.num_threads, hosts.host_of_rank[mpi.rank()],
               cpus.cpus.empty() ? "not pinned: there are fewer CPUs than threads"
                                 : fmt::format("pinned to CPUs {}", fmt::join(cpus.cpus, " ")));
  // The longest honest wait is for a rank that still loads its share; in a step the coordinator
  // notices a missing rank much sooner.
  const WaitOptions wait{config.join_timeout, cpus.cpus.empty() ? 0 : kPollsWithOwnCore};
  auto communicator = create_communicator(mpi.communicator(), config.communicator, hosts, wait);
  const ModelExecutorOptions options =
      executor_options(config, cpus, hosts.local_rank, mpi.rank() == 0);
  return run_worker_job(mpi, job,
                        [&] { return create_model_executor(options, std::move(communicator)); });
}

}  // namespace

int run_worker(const ServerConfig& config, const WorkerEnvironment& environment) {
  MpiSession mpi(/*is_launcher=*/false);
  try {
    set_up_log(config.log_level, config.log_format, fmt::format("rank {}", mpi.rank()));
    if (mpi.has_launcher()) {
      // mpirun sends these to every process. The launcher alone decides: its coordinator drains,
      // with the ranks, and then dismisses them.
      signal(SIGTERM, SIG_IGN);
      signal(SIGINT, SIG_IGN);
    }
    return run_rank_of_job(mpi, config, environment);
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    MpiSession::abort(worker_exit_of(error.code()));
  }
}

}  // namespace tessera

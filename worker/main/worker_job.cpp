#include "worker/main/worker_job.h"

#include <spdlog/spdlog.h>

#include <zmq.hpp>

#include "common/base/error.h"
#include "worker/comm/host_ranks.h"
#include "worker/main/job_facts.h"

namespace tessera {
namespace {

WorkerExit exit_of(RankExit exit) {
  switch (exit) {
    case RankExit::kShutdown: return WorkerExit::kSuccess;
    case RankExit::kRefused: return WorkerExit::kConfig;
    case RankExit::kLost: return WorkerExit::kRankLost;
  }
  return WorkerExit::kInternal;
}

// This rank's own coordinator, or the one it was told of.
std::string coordinator_of(const WorkerJobOptions& options, const JobFacts& facts) {
  if (!options.coordinator.empty()) return options.coordinator;
  TESSERA_REQUIRE(!facts.coordinator.empty(),
                  "no coordinator: give --coordinator tcp://HOST:PORT, or start the job with a "
                  "launcher (see --help)");
  const std::string host = host_name();
  TESSERA_REQUIRE(host == facts.host || !is_local_endpoint(facts.coordinator),
                  "the coordinator listens at ", facts.coordinator, " of ", facts.host,
                  " only, and this rank runs on ", host,
                  ": give tessera-coordinator a --control-endpoint tcp://ADDRESS:PORT");
  return facts.coordinator;
}

RankLoopOptions loop_options(const MpiSession& mpi, const WorkerJobOptions& options) {
  const std::string job_id = options.job_id.empty() ? random_id() : options.job_id;
  const JobFacts facts =
      share_job_facts(mpi, {options.coordinator, options.token, job_id, host_name()});
  RankLoopOptions loop;
  loop.coordinator = coordinator_of(options, facts);
  loop.token = facts.token;
  loop.job_id = facts.job_id;
  loop.host = host_name();
  loop.rank = mpi.rank();
  loop.tp = mpi.size();
  loop.coordinator_timeout = options.coordinator_timeout;
  return loop;
}

std::unique_ptr<RankExecutor> load_or_abort(
    const std::function<std::unique_ptr<RankExecutor>()>& load) {
  try {
    return load();
  } catch (const Error& error) {
    spdlog::error("cannot load the model: {}", error.what());
    const bool is_input = error.code() == ErrorCode::kInvalidArgument;
    MpiSession::abort(is_input ? WorkerExit::kModel : worker_exit_of(error.code()));
  }
}

void run_until_goodbye(const RankLoopOptions& loop, RankExecutor& executor) {
  zmq::context_t context;
  const auto leave_now = [](const std::string& why) {
    spdlog::error("{}", why);
    // Not MPI_Abort: the main thread may be inside MPI. mpirun ends the job when a rank exits.
    std::_Exit(static_cast<int>(WorkerExit::kRankLost));
  };
  const RankOutcome outcome = run_rank(context, loop, executor, leave_now);
  const WorkerExit code = exit_of(outcome.exit);
  spdlog::log(code == WorkerExit::kSuccess ? spdlog::level::info : spdlog::level::err, "{}",
              outcome.reason);
  if (code != WorkerExit::kSuccess) MpiSession::abort(code);
}

}  // namespace

int run_worker_job(MpiSession& mpi,
                   const WorkerJobOptions& options,
                   const std::function<std::unique_ptr<RankExecutor>()>& load) {
  try {
    const RankLoopOptions loop = loop_options(mpi, options);
    const std::unique_ptr<RankExecutor> executor = load_or_abort(load);
    run_until_goodbye(loop, *executor);
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    MpiSession::abort(worker_exit_of(error.code()));
  }
  return 0;
}

}  // namespace tessera

#include "worker/main/worker_job.h"

#include <unistd.h>

#include <array>
#include <cstdio>
#include <random>
#include <sstream>
#include <zmq.hpp>

#include "common/base/error.h"

namespace tessera {
namespace {

std::string random_id() {
  std::random_device device;  // an identity, not a random number of decoding
  std::ostringstream id;
  for (int i = 0; i < 4; ++i) id << std::hex << device();
  return id.str();
}

std::string host_name() {
  std::array<char, 256> name{};
  const int result = gethostname(name.data(), name.size() - 1);
  return result == 0 ? name.data() : "unknown host";
}

void report(std::int32_t rank, const std::string& text) {
  std::fprintf(stderr, "rank %d: %s\n", static_cast<int>(rank), text.c_str());
}

WorkerExit exit_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return WorkerExit::kConfig;
    case ErrorCode::kDevice: return WorkerExit::kDevice;
    case ErrorCode::kTransport: return WorkerExit::kRankLost;
    case ErrorCode::kInternal: return WorkerExit::kInternal;
  }
  return WorkerExit::kInternal;
}

WorkerExit exit_of(RankExit exit) {
  switch (exit) {
    case RankExit::kShutdown: return WorkerExit::kSuccess;
    case RankExit::kRefused: return WorkerExit::kConfig;
    case RankExit::kLost: return WorkerExit::kRankLost;
  }
  return WorkerExit::kInternal;
}

RankLoopOptions loop_options(const MpiSession& mpi, const WorkerJobOptions& options) {
  RankLoopOptions loop;
  loop.coordinator = options.coordinator;
  loop.token = mpi.broadcast(options.token);
  loop.job_id = mpi.broadcast(options.job_id.empty() ? random_id() : options.job_id);
  loop.host = host_name();
  loop.rank = mpi.rank();
  loop.tp = mpi.size();
  loop.coordinator_timeout = options.coordinator_timeout;
  return loop;
}

std::unique_ptr<RankExecutor> load_or_abort(
    const MpiSession& mpi, const std::function<std::unique_ptr<RankExecutor>()>& load) {
  try {
    return load();
  } catch (const Error& error) {
    report(mpi.rank(), detail::concat("cannot load the model: ", error.what()));
    const bool is_input = error.code() == ErrorCode::kInvalidArgument;
    MpiSession::abort(is_input ? WorkerExit::kModel : exit_of(error.code()));
  }
}

}  // namespace

int run_worker_job(MpiSession& mpi,
                   const WorkerJobOptions& options,
                   const std::function<std::unique_ptr<RankExecutor>()>& load) {
  const RankLoopOptions loop = loop_options(mpi, options);
  const std::unique_ptr<RankExecutor> executor = load_or_abort(mpi, load);
  zmq::context_t context;
  const auto leave_now = [&](const std::string& why) {
    report(loop.rank, why);
    // Not MPI_Abort: the main thread may be inside MPI. mpirun ends the job when a rank exits.
    std::_Exit(static_cast<int>(WorkerExit::kRankLost));
  };
  try {
    const RankOutcome outcome = run_rank(context, loop, *executor, leave_now);
    report(loop.rank, outcome.reason);
    const WorkerExit code = exit_of(outcome.exit);
    if (code != WorkerExit::kSuccess) MpiSession::abort(code);
  } catch (const Error& error) {
    report(loop.rank, error.what());
    MpiSession::abort(exit_of(error.code()));
  }
  return 0;
}

}  // namespace tessera

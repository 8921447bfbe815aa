#include "worker/runtime/mpi_session.h"

#include <cstdlib>

namespace tessera {
namespace {

void check(int result, const char* call) {
  TESSERA_CHECK_TRANSPORT(result == MPI_SUCCESS, call, " failed with ", result);
}

}  // namespace

WorkerExit worker_exit_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument: return WorkerExit::kConfig;
    case ErrorCode::kDevice: return WorkerExit::kDevice;
    case ErrorCode::kTransport: return WorkerExit::kRankLost;
    case ErrorCode::kInternal: return WorkerExit::kInternal;
  }
  return WorkerExit::kInternal;
}

MpiSession::MpiSession(bool is_launcher) {
  int provided = MPI_THREAD_SINGLE;
  // The heartbeat thread makes no MPI calls.
  check(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread");
  TESSERA_CHECK_TRANSPORT(provided >= MPI_THREAD_FUNNELED,
                          "this MPI library does not allow other threads beside it");
  check(MPI_Comm_rank(MPI_COMM_WORLD, &job_rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(MPI_COMM_WORLD, &job_size_), "MPI_Comm_size");
  check(MPI_Comm_split(MPI_COMM_WORLD, is_launcher ? 1 : 0, job_rank_, &communicator_),
        "MPI_Comm_split");
  check(MPI_Comm_rank(communicator_, &rank_), "MPI_Comm_rank");
  check(MPI_Comm_size(communicator_, &size_), "MPI_Comm_size");
}

MpiSession::~MpiSession() {
  MPI_Comm_free(&communicator_);
  MPI_Finalize();
}

std::string MpiSession::broadcast(const std::string& text) const {
  std::string result = text;
  auto length = static_cast<int>(result.size());
  check(MPI_Bcast(&length, 1, MPI_INT, 0, MPI_COMM_WORLD), "MPI_Bcast");
  result.resize(static_cast<std::size_t>(length));
  check(MPI_Bcast(result.data(), length, MPI_CHAR, 0, MPI_COMM_WORLD), "MPI_Bcast");
  return result;
}

void MpiSession::abort(int exit_code) {
  MPI_Abort(MPI_COMM_WORLD, exit_code);
  std::_Exit(exit_code);
}

}  // namespace tessera

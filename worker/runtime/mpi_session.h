#pragma once

#include <mpi.h>

#include <cstdint>
#include <string>

#include "common/base/error.h"

namespace tessera {

/// Exit codes of a worker job; mpirun passes them on.
enum class WorkerExit : int {
  kSuccess = 0,
  kConfig = 64,    ///< A flag or the configuration is wrong, or the coordinator refused the rank.
  kModel = 65,     ///< The model could not be loaded.
  kDevice = 66,    ///< A device or a collective failed.
  kRankLost = 68,  ///< Another rank or the coordinator is gone.
  kInternal = 70,  ///< A bug.
};

/// How a process ends that an error of this kind ends.
WorkerExit worker_exit_of(ErrorCode code);

/// MPI from MPI_Init to MPI_Finalize. MPI is the bootstrap of a job (who is there, one id for all)
/// and its abort path. Owned by the main thread of the process; one per process.
class MpiSession {
 public:
  /// Collective. In the one-job form the launcher is rank 0 of the job and no member of the
  /// workers' communicator.
  /// @throws Error{kTransport} if MPI does not start.
  explicit MpiSession(bool is_launcher);

  /// Finalizes: waits for the other ranks.
  ~MpiSession();
  MpiSession(const MpiSession&) = delete;
  MpiSession& operator=(const MpiSession&) = delete;

  /// Among the workers (or the launchers, on a launcher).
  std::int32_t rank() const noexcept { return rank_; }
  std::int32_t size() const noexcept { return size_; }
  MPI_Comm communicator() const noexcept { return communicator_; }

  /// Among all processes of the job.
  std::int32_t job_rank() const noexcept { return job_rank_; }

  /// Whether the job has both launchers and workers: the one-job form.
  bool has_launcher() const noexcept { return job_size_ > size_; }

  /// The text of rank 0 of the whole job, launcher included, on every process. Collective.
  std::string broadcast(const std::string& text) const;

  /// Ends all processes of the job; mpirun exits with `exit_code`, unless another process failed
  /// before.
  [[noreturn]] static void abort(int exit_code);
  [[noreturn]] static void abort(WorkerExit code) { abort(static_cast<int>(code)); }

 private:
  MPI_Comm communicator_ = MPI_COMM_NULL;
  std::int32_t rank_ = 0;
  std::int32_t size_ = 1;
  std::int32_t job_rank_ = 0;
  std::int32_t job_size_ = 1;
};

}  // namespace tessera

#include "worker/main/launcher.h"

#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/base/error.h"
#include "common/log/log_setup.h"
#include "worker/comm/host_ranks.h"
#include "worker/main/job_facts.h"
#include "worker/main/launched_coordinator.h"
#include "worker/runtime/mpi_session.h"

namespace tessera {
namespace {

sigset_t supervised_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (const int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, signal);
  return signals;
}

// Passes signals on until the child ends; its exit code, or 128 and the signal that killed it.
int wait_for_end(pid_t child) {
  const sigset_t signals = supervised_signals();
  for (;;) {
    int signal = 0;
    sigwait(&signals, &signal);
    if (signal != SIGCHLD) {
      kill(child, signal);
      continue;
    }
    int status = 0;
    if (waitpid(child, &status, WNOHANG) == child) {
      return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
  }
}

void require_first(const MpiSession& mpi) {
  TESSERA_REQUIRE(mpi.job_rank() == 0 && mpi.size() == 1,
                  "the launcher must be the one first process of the job: mpirun -n 1 "
                  "tessera-worker --role launcher -- ... : -n TP tessera-worker ...");
  TESSERA_REQUIRE(mpi.has_launcher(), "the job has a launcher but no workers");
}

}  // namespace

int run_launcher(const std::vector<std::string>& command,
                 const std::string& token,
                 const std::string& job_id) {
  const CoordinatorCommand coordinator = complete_command(command, token);
  set_up_log(coordinator.log_level, coordinator.log_format, "launcher");
  // Before MPI, whose threads inherit the mask: the signals are for sigwait.
  const sigset_t signals = supervised_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  const MpiSession mpi(/*is_launcher=*/true);
  int exit_code = 0;
  try {
    require_first(mpi);
    share_job_facts(mpi, {coordinator.endpoint, coordinator.token,
                          job_id.empty() ? random_id() : job_id, host_name()});
    const pid_t child = start_coordinator(coordinator);
    spdlog::info("process {} launches the coordinator; SIGTERM to it drains the server", getpid());
    exit_code = wait_for_end(child);
  } catch (const Error& error) {
    spdlog::error("{}", error.what());
    MpiSession::abort(worker_exit_of(error.code()));
  }
  if (exit_code != 0) {
    spdlog::error("the coordinator ended with {}", exit_code);
    MpiSession::abort(exit_code);
  }
  return exit_code;
}

}  // namespace tessera

#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/config/config.h"
#include "coordinator/cli/serve/child_process.h"
#include "coordinator/cli/serve/coordinator_link.h"
#include "coordinator/cli/serve/output_lines.h"
#include "coordinator/cli/serve/serve_commands.h"
#include "coordinator/cli/serve/serve_report.h"
#include "coordinator/cli/serve/serve_signals.h"
#include "coordinator/cluster/supervisor.h"

namespace tessera {

/// The processes of `tessera serve`: one coordinator and one mpirun job per replica. Supervisor
/// decides; this starts, signals and reaps, and passes on what the children print.
///
/// A job has ended when mpirun has and no process of its session is left: after mpirun's death the
/// remaining ranks are killed, those stopped by SIGSTOP too. One thread, which becomes the reaper
/// of every orphan; nothing outlives run().
class ServeProcesses {
 public:
  ServeProcesses(const ServerConfig& config, const ServePrograms& programs, ServeReport& report);

  /// Serves until a signal or a failure has ended everything.
  /// @return Exit code: 0 after a drain, else see Supervisor.
  int run();

 private:
  struct Child {
    std::string source;  ///< In front of its lines.
    std::string job_id;  ///< Empty: the coordinator.
    std::unique_ptr<ChildProcess> process;
    OutputLines output;
    bool output_is_open = true;
    std::string end_reason;           ///< Why we end it; empty: we do not.
    std::optional<TimePoint> end_at;  ///< Then its ranks are killed, unless they leave before.
    std::optional<int> exit_code;     ///< Of the process itself; others of its session may live.
  };

  /// Why the server will not end with 0.
  struct Failure {
    std::string what;
    std::deque<std::string> last_lines;
  };

  void start_coordinator();
  void start_job(const SupervisorAction& action);
  void wait_for_news();
  void take_signals();
  void reap();
  void pass_output_on(Child& child);
  void take_messages();
  void take(const CoordinatorMessage& message);
  void take_exits();
  void take_job_exit(std::int32_t slot);
  void take_coordinator_exit();
  void execute(const SupervisorAction& action);
  void end_job(Child& job, const std::string& reason);
  void end_overdue_ranks();
  void give_up(const SupervisorAction& action);
  void fail(const Child& child, int exit_code);
  int finish(int exit_code);
  std::vector<Child*> children();

  const ServerConfig& config_;
  const ServePrograms& programs_;
  ServeReport& report_;
  ServeSignals signals_;
  SystemClock clock_;
  TimePoint started_at_;
  std::string token_;
  CoordinatorLink link_;
  Supervisor supervisor_;
  std::unique_ptr<Child> coordinator_;
  std::vector<std::unique_ptr<Child>> jobs_;  ///< By slot; null: none.
  std::string control_endpoint_;
  int http_port_ = 0;
  bool was_ready_ = false;
  bool is_stopping_ = false;
  std::optional<Failure> failure_;
  std::optional<int> exit_code_;
};

}  // namespace tessera

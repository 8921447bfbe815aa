#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"

namespace tessera {

struct SupervisorOptions {
  std::int32_t num_replicas = 1;
  std::int32_t restart_budget = 3;  ///< Restarts of one replica before it is given up.
  Duration first_backoff = std::chrono::milliseconds(500);  ///< Doubles with every restart.
  Duration max_backoff = std::chrono::seconds(10);
  Duration stable_after = std::chrono::minutes(10);  ///< Ready for so long: the budget is whole.
  Duration join_timeout = std::chrono::minutes(5);   ///< Start of a job to its readiness.
  Duration kill_grace = std::chrono::seconds(4);     ///< From asking a job to end to killing it.
  Duration drain_grace = std::chrono::seconds(40);  ///< The same for the coordinator, which drains.
};

/// What the supervisor wants done. `slot` numbers the replicas.
struct SupervisorAction {
  enum class Kind : std::uint8_t {
    kStartJob,         ///< Start mpirun for the slot under `job_id`.
    kEndJob,           ///< End the slot's job; see `text` for the reason.
    kKillJob,          ///< It did not end: kill every process of it.
    kGiveUp,           ///< Tell the coordinator that nothing is restarted any more; see `text`.
    kStopCoordinator,  ///< Ask the coordinator to drain and exit (SIGTERM).
    kKillCoordinator,  ///< Kill it.
    kExit,             ///< Everything has ended: exit with `exit_code`.
  };

  Kind kind = Kind::kStartJob;
  std::int32_t slot = 0;
  std::string job_id;
  int exit_code = 0;
  std::string text;
};

/// Decides when worker jobs are started, restarted, ended and given up. Starts no process and
/// knows no clock: events come in with their time, actions go out. One thread.
///
///     job:  idle --start--> starting --ready--> running
///                 ^            |  exit, lost, not ready in time   |
///                 |            v                                  v
///                 +--back-off-- ending --exit-->  (budget left?) --no--> given up
///
/// A job that ends with 64, 65 or 66 (configuration, model, device) before the server was ever
/// ready would do so again: the server ends with that code instead. When the budget of every
/// replica is spent, a server that was never ready ends with 69; one that was stays up and answers
/// 503.
class Supervisor {
 public:
  explicit Supervisor(const SupervisorOptions& options);

  /// Starts the jobs, unless a stop signal was faster.
  void start(TimePoint now);

  // Events.
  void on_replica_ready(const std::string& job_id, TimePoint now);
  void on_replica_lost(const std::string& job_id, TimePoint now);
  void on_job_exit(std::int32_t slot, int exit_code, TimePoint now);
  void on_coordinator_exit(int exit_code, TimePoint now);
  void on_stop_signal(TimePoint now);
  void on_time(TimePoint now);

  /// When on_time has something to do next.
  std::optional<TimePoint> next_deadline() const;

  /// What to do now, in order; each action is handed out once.
  std::vector<SupervisorAction> take_actions();

 private:
  enum class Phase : std::uint8_t { kIdle, kStarting, kRunning, kEnding, kGivenUp };

  struct Slot {
    Phase phase = Phase::kIdle;
    std::int32_t num_starts = 0;  ///< Names the job.
    std::int32_t num_restarts = 0;
    std::string job_id;
    TimePoint ready_at;
    std::optional<TimePoint> deadline;  ///< Idle: restart. Starting: give it up. Ending: kill.
  };

  void start_job(std::int32_t slot, TimePoint now);
  void end_job(std::int32_t slot, const std::string& why, TimePoint now);
  void restart_or_give_up(std::int32_t slot, int exit_code, TimePoint now);
  void give_up(std::int32_t slot, const std::string& why, TimePoint now);
  void begin_shutdown(int exit_code, TimePoint now);
  void stop_coordinator(Duration grace, TimePoint now);
  void exit_if_done();
  std::int32_t find(const std::string& job_id) const;
  void act(SupervisorAction action) { actions_.push_back(std::move(action)); }

  SupervisorOptions options_;
  std::vector<Slot> slots_;
  std::vector<SupervisorAction> actions_;
  bool was_ready_ = false;
  bool is_stopping_ = false;
  bool coordinator_is_up_ = true;
  std::optional<TimePoint> coordinator_deadline_;  ///< Then it is killed.
  bool has_exited_ = false;
  int exit_code_ = 0;
};

}  // namespace tessera

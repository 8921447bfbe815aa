#include "coordinator/cluster/supervisor.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

using Kind = SupervisorAction::Kind;

constexpr int kExitConfig = 64;
constexpr int kExitModel = 65;
constexpr int kExitDevice = 66;
constexpr int kExitNeverReady = 69;
constexpr int kExitCoordinatorDied = 70;

bool is_permanent(int exit_code) {
  return exit_code == kExitConfig || exit_code == kExitModel || exit_code == kExitDevice;
}

std::string not_ready_text(Duration timeout) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(timeout);
  return detail::concat("not ready within ", seconds.count(), " s (join_timeout)");
}

}  // namespace

Supervisor::Supervisor(const SupervisorOptions& options)
    : options_(options), slots_(static_cast<std::size_t>(options.num_replicas)) {
  TESSERA_REQUIRE(options.num_replicas >= 1, "replicas is ", options.num_replicas);
}

void Supervisor::start(TimePoint now) {
  if (is_stopping_) return;
  for (std::int32_t slot = 0; slot < options_.num_replicas; ++slot) start_job(slot, now);
}

void Supervisor::start_job(std::int32_t slot, TimePoint now) {
  Slot& job = slots_[static_cast<std::size_t>(slot)];
  job.phase = Phase::kStarting;
  job.job_id = detail::concat("replica-", slot, "-start-", ++job.num_starts);
  job.deadline = now + options_.join_timeout;
  act({Kind::kStartJob, slot, job.job_id, 0, {}});
}

void Supervisor::end_job(std::int32_t slot, const std::string& why, TimePoint now) {
  Slot& job = slots_[static_cast<std::size_t>(slot)];
  if (job.phase != Phase::kStarting && job.phase != Phase::kRunning) return;
  job.phase = Phase::kEnding;
  job.deadline = now + options_.kill_grace;
  act({Kind::kEndJob, slot, job.job_id, 0, why});
}

std::int32_t Supervisor::find(const std::string& job_id) const {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [&](const Slot& slot) { return slot.job_id == job_id; });
  return found == slots_.end() ? -1 : static_cast<std::int32_t>(found - slots_.begin());
}

void Supervisor::on_replica_ready(const std::string& job_id, TimePoint now) {
  const std::int32_t slot = find(job_id);
  if (slot < 0) return;  // a job that somebody started by hand
  Slot& job = slots_[static_cast<std::size_t>(slot)];
  if (job.phase != Phase::kStarting) return;
  job.phase = Phase::kRunning;
  job.ready_at = now;
  job.deadline.reset();
  was_ready_ = true;
}

void Supervisor::on_replica_lost(const std::string& job_id, TimePoint now) {
  const std::int32_t slot = find(job_id);
  if (slot >= 0) end_job(slot, "the coordinator lost it", now);
}

void Supervisor::on_job_exit(std::int32_t slot, int exit_code, TimePoint now) {
  Slot& job = slots_.at(static_cast<std::size_t>(slot));
  const bool was_stable =
      job.ready_at != TimePoint{} && now - job.ready_at >= options_.stable_after;
  if (was_stable) job.num_restarts = 0;
  job.ready_at = {};
  job.deadline.reset();
  job.phase = Phase::kIdle;
  if (is_stopping_) return exit_if_done();
  restart_or_give_up(slot, exit_code, now);
}

void Supervisor::restart_or_give_up(std::int32_t slot, int exit_code, TimePoint now) {
  Slot& job = slots_[static_cast<std::size_t>(slot)];
  if (is_permanent(exit_code) && !was_ready_) return begin_shutdown(exit_code, now);
  if (job.num_restarts >= options_.restart_budget) {
    return give_up(slot,
                   detail::concat("replica ", slot, " is given up after ", job.num_restarts,
                                  " restart(s), exit code ", exit_code),
                   now);
  }
  const int doublings = std::min(job.num_restarts++, 10);
  job.deadline =
      now + std::min(options_.first_backoff * (std::int64_t{1} << doublings), options_.max_backoff);
}

void Supervisor::give_up(std::int32_t slot, const std::string& why, TimePoint now) {
  slots_[static_cast<std::size_t>(slot)].phase = Phase::kGivenUp;
  const bool is_last = std::all_of(slots_.begin(), slots_.end(), [](const Slot& other) {
    return other.phase == Phase::kGivenUp;
  });
  // While another replica runs or is being restarted, requests go on there.
  if (!is_last) return;
  act({Kind::kGiveUp, slot, {}, 0, why});
  if (!was_ready_) begin_shutdown(kExitNeverReady, now);
}

void Supervisor::on_coordinator_exit(int exit_code, TimePoint now) {
  coordinator_is_up_ = false;
  coordinator_deadline_.reset();
  if (!is_stopping_) {
    is_stopping_ = true;
    exit_code_ = exit_code == 0 ? kExitCoordinatorDied : exit_code;
  } else if (exit_code_ == 0) {
    exit_code_ = exit_code;
  }
  for (std::int32_t slot = 0; slot < options_.num_replicas; ++slot) {
    Slot& job = slots_[static_cast<std::size_t>(slot)];
    // It said goodbye to the ranks; those that hear it leave on their own.
    if (job.phase == Phase::kRunning && exit_code == 0) {
      job.phase = Phase::kEnding;
      job.deadline = now + options_.kill_grace;
    } else {
      end_job(slot, "the coordinator is gone", now);
    }
  }
  exit_if_done();
}

void Supervisor::begin_shutdown(int exit_code, TimePoint now) {
  is_stopping_ = true;
  exit_code_ = exit_code;
  for (std::int32_t slot = 0; slot < options_.num_replicas; ++slot) {
    Slot& job = slots_[static_cast<std::size_t>(slot)];
    if (job.phase == Phase::kStarting) end_job(slot, "the server stops", now);
    if (job.phase == Phase::kIdle) job.deadline.reset();
  }
  stop_coordinator(options_.drain_grace, now);
  exit_if_done();
}

void Supervisor::stop_coordinator(Duration grace, TimePoint now) {
  if (!coordinator_is_up_) return;
  coordinator_deadline_ = now + grace;
  act({Kind::kStopCoordinator, 0, {}, 0, {}});
}

void Supervisor::on_stop_signal(TimePoint now) {
  if (!is_stopping_) return begin_shutdown(/*exit_code=*/0, now);
  stop_coordinator(options_.kill_grace, now);  // the second one: now
}

void Supervisor::on_time(TimePoint now) {
  if (coordinator_deadline_ && now >= *coordinator_deadline_) {
    coordinator_deadline_.reset();
    act({Kind::kKillCoordinator, 0, {}, 0, {}});
  }
  for (std::int32_t slot = 0; slot < options_.num_replicas; ++slot) {
    Slot& job = slots_[static_cast<std::size_t>(slot)];
    if (!job.deadline || now < *job.deadline) continue;
    job.deadline.reset();
    switch (job.phase) {
      case Phase::kIdle: start_job(slot, now); break;
      case Phase::kStarting: end_job(slot, not_ready_text(options_.join_timeout), now); break;
      case Phase::kEnding: act({Kind::kKillJob, slot, job.job_id, 0, {}}); break;
      default: break;
    }
  }
}

std::optional<TimePoint> Supervisor::next_deadline() const {
  std::optional<TimePoint> next = coordinator_deadline_;
  for (const Slot& slot : slots_) {
    if (slot.deadline && (!next || *slot.deadline < *next)) next = slot.deadline;
  }
  return next;
}

void Supervisor::exit_if_done() {
  const bool jobs_have_ended = std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) {
    return slot.phase == Phase::kIdle || slot.phase == Phase::kGivenUp;
  });
  if (has_exited_ || !is_stopping_ || coordinator_is_up_ || !jobs_have_ended) return;
  has_exited_ = true;
  act({Kind::kExit, 0, {}, exit_code_, {}});
}

std::vector<SupervisorAction> Supervisor::take_actions() {
  return std::exchange(actions_, {});
}

}  // namespace tessera

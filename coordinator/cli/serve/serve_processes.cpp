#include "coordinator/cli/serve/serve_processes.h"

#include <poll.h>
#include <signal.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <iomanip>
#include <sstream>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

using std::chrono::duration_cast;
using std::chrono::milliseconds;
using std::chrono::seconds;

// While processes of a dead leader are being killed: their ends are not always ours to hear.
constexpr milliseconds kLookAgain{20};
// What a lost job has to report and leave on its own: mpirun ends it when one rank dies, and
// crashes when a SIGTERM comes on top of that.
constexpr milliseconds kLeaveGrace{500};
constexpr seconds kDrainMargin{10};  // of the coordinator, beyond its own drain time

std::string random_token() {
  std::array<unsigned char, 16> bytes;
  TESSERA_CHECK(getrandom(bytes.data(), bytes.size(), 0) == static_cast<ssize_t>(bytes.size()),
                "getrandom failed");
  std::ostringstream text;
  for (const unsigned char byte : bytes) {
    text << std::hex << std::setw(2) << std::setfill('0') << static_cast<int>(byte);
  }
  return text.str();
}

SupervisorOptions supervisor_options(const ServerConfig& config) {
  SupervisorOptions options;
  options.num_replicas = config.replicas;
  options.restart_budget = config.restart_budget;
  options.join_timeout = config.join_timeout;
  options.drain_grace = config.drain_timeout + kDrainMargin;
  return options;
}

int code_of(int status) {
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

ServeProcesses::ServeProcesses(const ServerConfig& config,
                               const ServePrograms& programs,
                               ServeReport& report)
    : config_(config),
      programs_(programs),
      report_(report),
      started_at_(clock_.now()),
      token_(random_token()),
      supervisor_(supervisor_options(config)),
      jobs_(static_cast<std::size_t>(config.replicas)) {}

int ServeProcesses::run() {
  adopt_orphans();
  start_coordinator();
  while (!exit_code_) {
    wait_for_news();
    take_signals();
    for (Child* child : children()) pass_output_on(*child);
    take_messages();
    take_exits();
    end_overdue_ranks();
    supervisor_.on_time(clock_.now());
    for (const SupervisorAction& action : supervisor_.take_actions()) execute(action);
  }
  return finish(*exit_code_);
}

std::vector<ServeProcesses::Child*> ServeProcesses::children() {
  std::vector<Child*> result;
  if (coordinator_) result.push_back(coordinator_.get());
  for (const auto& job : jobs_) {
    if (job) result.push_back(job.get());
  }
  return result;
}

void ServeProcesses::start_coordinator() {
  coordinator_ = std::make_unique<Child>();
  coordinator_->source = "coordinator";
  coordinator_->process = std::make_unique<ChildProcess>(
      coordinator_command(config_, programs_, token_, link_.coordinator_end()));
  link_.close_coordinator_end();
}

void ServeProcesses::start_job(const SupervisorAction& action) {
  auto job = std::make_unique<Child>();
  job->source = "replica " + std::to_string(action.slot);
  job->job_id = action.job_id;
  report_.line(job->source, "starting " + count_text(config_.tp, "rank") + ", job " + job->job_id);
  job->process = std::make_unique<ChildProcess>(
      job_command(config_, programs_, token_, action.job_id, control_endpoint_, action.slot));
  jobs_[static_cast<std::size_t>(action.slot)] = std::move(job);
}

void ServeProcesses::wait_for_news() {
  std::vector<pollfd> items = {{signals_.descriptor(), POLLIN, 0}};
  const TimePoint now = clock_.now();
  std::optional<TimePoint> deadline = supervisor_.next_deadline();
  const auto look_at = [&](TimePoint time) { deadline = std::min(deadline.value_or(time), time); };
  if (coordinator_ && !coordinator_->exit_code) items.push_back({link_.descriptor(), POLLIN, 0});
  for (const Child* child : children()) {
    if (child->output_is_open) items.push_back({child->process->output(), POLLIN, 0});
    if (child->exit_code) look_at(now + kLookAgain);
    if (child->end_at) look_at(*child->end_at);
  }
  int timeout = -1;
  if (deadline) {
    // Rounded up: the deadline has passed when poll returns.
    const auto wait = duration_cast<milliseconds>(*deadline - now) + milliseconds(1);
    timeout = static_cast<int>(std::clamp<std::int64_t>(wait.count(), 0, 60'000));
  }
  poll(items.data(), items.size(), timeout);
}

void ServeProcesses::take_signals() {
  const int num_stops = signals_.take_stops();
  for (int i = 0; i < num_stops; ++i) {
    report_.line("serve", is_stopping_ ? "ending now"
                                       : "draining: open requests may finish; again to end now");
    is_stopping_ = true;
    supervisor_.on_stop_signal(clock_.now());
  }
  reap();
}

void ServeProcesses::reap() {
  int status = 0;
  for (pid_t pid = 0; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
    for (Child* child : children()) {
      if (child->process->pid() == pid) child->exit_code = code_of(status);
    }
    // Others were orphans of a job, which was or will be found by its session.
  }
}

void ServeProcesses::pass_output_on(Child& child) {
  const auto on_line = [&](const std::string& line) { report_.pass_on(child.source, line); };
  std::array<char, 16384> buffer;
  while (child.output_is_open) {
    const ssize_t size = read(child.process->output(), buffer.data(), buffer.size());
    if (size < 0) return;  // nothing more for now
    if (size == 0) {
      child.output.finish(on_line);
      child.output_is_open = false;
      return;
    }
    child.output.feed({buffer.data(), static_cast<std::size_t>(size)}, on_line);
  }
}

void ServeProcesses::take_messages() {
  for (const CoordinatorMessage& message : link_.receive()) take(message);
}

void ServeProcesses::take(const CoordinatorMessage& message) {
  using Kind = CoordinatorMessage::Kind;
  switch (message.kind) {
    case Kind::kListening:
      control_endpoint_ = message.control_endpoint;
      http_port_ = message.http_port;
      return supervisor_.start(clock_.now());
    case Kind::kLost: return supervisor_.on_replica_lost(message.job_id, clock_.now());
    case Kind::kReady:
      supervisor_.on_replica_ready(message.job_id, clock_.now());
      if (!std::exchange(was_ready_, true)) {
        report_.ready(config_, http_port_, clock_.now() - started_at_);
      }
  }
}

void ServeProcesses::take_exits() {
  for (std::size_t slot = 0; slot < jobs_.size(); ++slot) {
    if (jobs_[slot] && jobs_[slot]->exit_code) take_job_exit(static_cast<std::int32_t>(slot));
  }
  if (coordinator_ && coordinator_->exit_code) take_coordinator_exit();
}

void ServeProcesses::take_job_exit(std::int32_t slot) {
  auto& job = jobs_[static_cast<std::size_t>(slot)];
  if (job->process->kill_session()) return;  // look again when they are gone
  pass_output_on(*job);
  const std::unique_ptr<Child> ended = std::exchange(job, nullptr);
  const int exit_code = *ended->exit_code;
  if (ended->end_reason.empty()) {
    report_.line(ended->source, "ended with " + exit_text(exit_code));
  } else {
    report_.line(ended->source, "ended");
  }
  if (exit_code != 0 && !is_stopping_) fail(*ended, exit_code);
  supervisor_.on_job_exit(slot, exit_code, clock_.now());
}

void ServeProcesses::take_coordinator_exit() {
  if (coordinator_->process->kill_session()) return;
  pass_output_on(*coordinator_);
  const std::unique_ptr<Child> ended = std::exchange(coordinator_, nullptr);
  const int exit_code = *ended->exit_code;
  if (!is_stopping_) fail(*ended, exit_code);
  is_stopping_ = true;
  supervisor_.on_coordinator_exit(exit_code, clock_.now());
}

// Remembered, not printed: a job may be started again, and what ended the last one counts.
void ServeProcesses::fail(const Child& child, int exit_code) {
  std::string what = child.source + " ended with " + exit_text(exit_code);
  if (!child.end_reason.empty()) what = child.source + " was ended: " + child.end_reason;
  failure_ = Failure{std::move(what), child.output.last()};
}

void ServeProcesses::execute(const SupervisorAction& action) {
  using Kind = SupervisorAction::Kind;
  const auto& job = jobs_[static_cast<std::size_t>(action.slot)];
  switch (action.kind) {
    case Kind::kStartJob: return start_job(action);
    case Kind::kEndJob:
      if (job) end_job(*job, action.text);
      return;
    case Kind::kKillJob:
      if (job) job->process->kill_session();
      return;
    case Kind::kGiveUp: return give_up(action);
    case Kind::kStopCoordinator:
      is_stopping_ = true;
      if (coordinator_) coordinator_->process->send_signal(SIGTERM);
      return;
    case Kind::kKillCoordinator:
      if (coordinator_) coordinator_->process->kill_session();
      return;
    case Kind::kExit: exit_code_ = action.exit_code; return;
  }
}

void ServeProcesses::end_job(Child& job, const std::string& reason) {
  report_.line(job.source, "ending its ranks: " + reason);
  job.end_reason = reason;
  job.end_at = clock_.now() + kLeaveGrace;
}

void ServeProcesses::end_overdue_ranks() {
  for (const auto& job : jobs_) {
    if (!job || !job->end_at || clock_.now() < *job->end_at) continue;
    job->end_at.reset();
    // No ranks: mpirun has not come so far, and a SIGTERM is safe.
    if (!job->process->kill_followers()) job->process->send_signal(SIGTERM);
  }
}

void ServeProcesses::give_up(const SupervisorAction& action) {
  TESSERA_CHECK(failure_, "gave up, but no job has failed");
  failure_->what = action.text + "; " + failure_->what;
  link_.give_up(action.text);
  if (!was_ready_) return;  // finish() says it
  report_.failure(failure_->what, failure_->last_lines,
                  "requests are answered 503 from now on. Find out what ends the ranks, then start "
                  "the server again.");
}

int ServeProcesses::finish(int exit_code) {
  if (exit_code != 0 && failure_) {
    report_.failure(failure_->what, failure_->last_lines, exit_advice(exit_code));
  } else {
    report_.line("serve", "ended in order");
  }
  return exit_code;
}

}  // namespace tessera

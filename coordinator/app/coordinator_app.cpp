#include "coordinator/app/coordinator_app.h"

#include <poll.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <random>
#include <utility>

#include "common/base/clock.h"
#include "common/base/error.h"
#include "coordinator/app/served_model.h"
#include "coordinator/app/supervisor_link.h"
#include "coordinator/cluster/engine_thread.h"
#include "coordinator/frontend/frontend.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;

constexpr int kExitRankLost = 68;
constexpr int kExitInternal = 70;
constexpr milliseconds kFlushPatience{2'000};

std::vector<std::string> read_lines(const std::string& file) {
  std::vector<std::string> lines;
  if (file.empty()) return lines;
  std::ifstream in(file);
  TESSERA_REQUIRE(in.good(), "cannot read ", file);
  for (std::string line; std::getline(in, line);) {
    if (!line.empty()) lines.push_back(line);
  }
  TESSERA_REQUIRE(!lines.empty(), file, " is empty");
  return lines;
}

std::string control_token(const ServerConfig& config, const CoordinatorEnvironment& environment) {
  if (!config.control_token_file.empty()) return read_lines(config.control_token_file).front();
  const std::string& endpoint = config.control_endpoint;
  const bool is_local = endpoint.starts_with("ipc://") || endpoint.starts_with("tcp://127.") ||
                        endpoint.starts_with("tcp://localhost:");
  TESSERA_REQUIRE(is_local || !environment.token.empty(), "control_endpoint ", endpoint,
                  " can be reached from other machines: give a --control-token-file");
  return environment.token;
}

ClusterOptions cluster_options(const ServerConfig& config,
                               const CoordinatorEnvironment& environment,
                               std::int32_t max_model_len) {
  ClusterOptions options;
  options.token = control_token(config, environment);
  options.page_size = config.page_size;
  options.max_running_requests = config.max_running_requests;
  options.max_step_rows = step_rows(config);
  options.max_model_len = max_model_len;
  options.heartbeat_interval = config.heartbeat_interval;
  options.heartbeat_timeout = config.heartbeat_timeout;
  options.join_timeout = config.join_timeout;
  options.step_timeout = config.step_timeout;
  options.supervised = environment.supervisor.has_value();
  return options;
}

EngineOptions engine_options(const ServerConfig& config) {
  EngineOptions options;
  options.page_size = config.page_size;
  options.max_running_requests = config.max_running_requests;
  options.max_waiting_requests = config.max_waiting_requests;
  options.max_step_rows = step_rows(config);
  options.prefix_cache = config.prefix_cache;
  return options;
}

FrontendOptions frontend_options(const ServerConfig& config, ServedModel model) {
  FrontendOptions options;
  options.host = config.host;
  options.port = static_cast<std::uint16_t>(config.port);
  options.limits.max_body_bytes = static_cast<std::size_t>(config.max_body_bytes);
  options.limits.max_connections = config.max_connections;
  options.limits.header_timeout = config.header_timeout;
  options.limits.ping_interval = config.sse_ping_interval;
  options.api_keys = read_lines(config.api_key_file);
  options.model = std::move(model);
  options.request_timeout = config.request_timeout;
  std::random_device device;
  options.seed = (std::uint64_t{device()} << 32) | device();
  options.version = std::string(version());
  options.unix_seconds = [] { return static_cast<std::int64_t>(std::time(nullptr)); };
  return options;
}

void log_event(const ClusterEvent& event) {
  switch (event.kind) {
    case ClusterEventKind::kRankJoined:
    case ClusterEventKind::kReplicaReady: spdlog::info("{}", event.text); break;
    case ClusterEventKind::kForeignFrame:
    case ClusterEventKind::kRankRefused:
    case ClusterEventKind::kReplicaLost: spdlog::warn("{}", event.text); break;
    case ClusterEventKind::kNoReplicaLeft:
    case ClusterEventKind::kEngineFailed: spdlog::error("{}", event.text); break;
  }
}

/// SIGTERM and SIGINT as a descriptor.
class StopSignals {
 public:
  StopSignals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    descriptor_ = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    TESSERA_CHECK(descriptor_ >= 0, "signalfd failed");
  }
  ~StopSignals() { close(descriptor_); }

  int descriptor() const noexcept { return descriptor_; }

  /// Whether one has come since the last call.
  bool take() {
    signalfd_siginfo info;
    return read(descriptor_, &info, sizeof(info)) == sizeof(info);
  }

 private:
  int descriptor_ = -1;
};

/// The coordinator while it runs; owned by main.
class Coordinator {
 public:
  /// @param signals  Made before anything else: threads inherit the blocked signals, and one that
  ///                 comes while the model is read ends the server in order.
  Coordinator(const ServerConfig& config,
              const CoordinatorEnvironment& environment,
              StopSignals& signals)
      : Coordinator(config, environment, signals, load_served_model(config)) {}

  int run() {
    engine_.start();
    frontend_.start(engine_, [this] { return engine_.metrics(); });
    spdlog::info("serving on http://{}:{}, workers join at {}", config_.host, frontend_.port(),
                 engine_.endpoint());
    if (link_) link_->tell_listening(engine_.endpoint(), frontend_.port());
    int exit_code = wait_for_end();
    if (exit_code == 0) exit_code = drain();
    if (exit_code == kExitInternal) {
      frontend_.fail_open({FailureReason::kEngineFailed, "an internal error ended the server"});
    }
    frontend_.wait_idle(kFlushPatience);
    frontend_.stop();
    engine_.stop();
    return exit_code;
  }

 private:
  Coordinator(const ServerConfig& config,
              const CoordinatorEnvironment& environment,
              StopSignals& signals,
              ServedModel model)
      : config_(config),
        exits_on_rank_loss_(environment.exits_on_rank_loss),
        signals_(signals),
        wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)),
        frontend_(frontend_options(config, model), clock_),
        engine_(engine_options(config),
                cluster_options(config, environment, model.max_model_len),
                config.control_endpoint,
                frontend_,
                clock_,
                [this](const ClusterEvent& event) { on_event(event); }) {
    if (environment.supervisor) link_.emplace(*environment.supervisor);
  }

  // On the engine thread.
  void on_event(const ClusterEvent& event) {
    log_event(event);
    if (link_) link_->tell(event);
    if (event.kind == ClusterEventKind::kEngineFailed) end_with(kExitInternal);
    if (event.kind == ClusterEventKind::kNoReplicaLeft && exits_on_rank_loss_) {
      end_with(kExitRankLost);
    }
  }

  void end_with(int exit_code) {
    exit_code_.store(exit_code);
    eventfd_write(wake_, 1);
  }

  // 0: a signal came; else the code to exit with at once.
  int wait_for_end() {
    for (;;) {
      pollfd items[] = {{signals_.descriptor(), POLLIN, 0},
                        {wake_, POLLIN, 0},
                        {link_ ? link_->descriptor() : -1, POLLIN, 0}};
      poll(items, 3, /*timeout=*/-1);
      if (exit_code_.load() != 0) return exit_code_.load();
      if (signals_.take()) return 0;
      if (link_) {
        if (auto reason = link_->receive()) engine_.give_up(*std::move(reason));
        if (link_->is_closed()) return 0;
      }
    }
  }

  // Only the front end refuses work at first: what it has accepted may still be on its way to the
  // engine. Ranks that leave because they are told to end, too, are no failure.
  int drain() {
    spdlog::info("draining: new requests are refused, open ones have {} ms",
                 config_.drain_timeout.count());
    frontend_.drain();
    const TimePoint deadline = clock_.now() + config_.drain_timeout;
    constexpr milliseconds kLook{50};
    while (!frontend_.wait_idle(kLook)) {
      if (exit_code_.load() == kExitInternal) return kExitInternal;
      if (!signals_.take() && clock_.now() < deadline) continue;
      engine_.drain();
      engine_.fail_all({FailureReason::kDraining, "the server went down before this was done"});
      break;
    }
    return 0;
  }

  const ServerConfig& config_;
  bool exits_on_rank_loss_;
  StopSignals& signals_;
  SystemClock clock_;
  int wake_;
  std::atomic<int> exit_code_ = 0;
  std::optional<SupervisorLink> link_;
  Frontend frontend_;
  EngineThread engine_;
};

}  // namespace

int run_coordinator(const ServerConfig& config, const CoordinatorEnvironment& environment) {
  StopSignals signals;
  return Coordinator(config, environment, signals).run();
}

}  // namespace tessera

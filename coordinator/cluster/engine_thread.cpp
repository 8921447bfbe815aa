#include "coordinator/cluster/engine_thread.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr std::chrono::milliseconds kPublicationInterval{50};
constexpr std::chrono::milliseconds kFarewellPatience{500};
// Messages taken before the loop looks at time and commands again.
constexpr int kMaxMessagesPerTurn = 256;

template <typename... Handlers>
struct Overloaded : Handlers... {
  using Handlers::operator()...;
};
template <typename... Handlers>
Overloaded(Handlers...) -> Overloaded<Handlers...>;

}  // namespace

EngineThread::EngineThread(const EngineOptions& engine_options,
                           const ClusterOptions& cluster_options,
                           const std::string& endpoint,
                           UpdateSink& sink,
                           const Clock& clock,
                           ClusterListener listener)
    : sink_(sink),
      clock_(clock),
      listener_(std::move(listener)),
      router_(context_, endpoint),
      transport_(router_),
      engine_(engine_options, clock),
      cluster_(cluster_options, engine_, transport_, clock, [this](const ClusterEvent& event) {
        events_.push_back(event);
      }) {
  publish();
}

EngineThread::~EngineThread() {
  stop();
}

void EngineThread::start() {
  thread_ = std::thread(&EngineThread::run, this);
}

void EngineThread::submit(SequenceRequest request) {
  commands_.push(std::move(request));
}
void EngineThread::cancel(RequestId id) {
  commands_.push(CancelCommand{id});
}
void EngineThread::drain() {
  commands_.push(DrainCommand{});
}
void EngineThread::fail_all(SequenceFailure failure) {
  commands_.push(FailAllCommand{std::move(failure)});
}
void EngineThread::give_up(std::string reason) {
  commands_.push(GiveUpCommand{std::move(reason)});
}

void EngineThread::stop() {
  if (!thread_.joinable()) return;
  commands_.push(StopCommand{});
  thread_.join();
}

ClusterStatus EngineThread::status() const {
  const std::lock_guard lock(published_mutex_);
  return status_;
}

std::optional<SequenceFailure> EngineThread::refusal() const {
  const std::lock_guard lock(published_mutex_);
  return refusal_;
}

ClusterMetrics EngineThread::metrics() const {
  const std::lock_guard lock(published_mutex_);
  return metrics_;
}

void EngineThread::run() {
  try {
    loop();
  } catch (const std::exception& error) {
    // The engine's state cannot be trusted any more: the owner hears of it and ends the process.
    publish_failure(error.what());
    listener_({ClusterEventKind::kEngineFailed, -1, {}, error.what()});
  }
}

void EngineThread::loop() {
  while (!is_stopping_) {
    wait();
    // Messages before time: what has arrived must not look late because this thread was.
    take_messages();
    take_commands();
    engine_.expire();
    cluster_.on_time();
    cluster_.start_steps();
    publish_refusal();
    // The ranks work while the news are handed on.
    deliver_updates();
    is_publication_due_ = true;
    if (!events_.empty() || clock_.now() >= next_publication_) publish();
    tell_events();
  }
  cluster_.shut_down();
  tell_events();
  router_.set_linger(kFarewellPatience);
}

void EngineThread::wait() {
  TimePoint until = cluster_.next_wakeup();
  if (const auto deadline = engine_.next_deadline()) until = std::min(until, *deadline);
  if (is_publication_due_) until = std::min(until, next_publication_);
  const auto patience = std::chrono::ceil<std::chrono::milliseconds>(until - clock_.now());
  zmq::pollitem_t items[] = {{router_.handle(), 0, ZMQ_POLLIN, 0},
                             {nullptr, commands_.wake_descriptor(), ZMQ_POLLIN, 0}};
  zmq::poll(items, 2, std::max(patience, std::chrono::milliseconds(0)));
}

void EngineThread::take_messages() {
  for (int i = 0; i < kMaxMessagesPerTurn; ++i) {
    const auto received = router_.receive();
    if (!received) return;
    cluster_.on_message(received->peer, received->bytes);
  }
}

void EngineThread::take_commands() {
  for (EngineCommand& command : commands_.take()) execute(std::move(command));
}

void EngineThread::execute(EngineCommand command) {
  std::visit(Overloaded{[&](SequenceRequest& request) {
                          engine_.submit(std::move(request));
                          cluster_.refuse_if_failed();
                        },
                        [&](const CancelCommand& cancel) { engine_.cancel(cancel.id); },
                        [&](const DrainCommand&) {
                          is_draining_ = true;
                          engine_.drain();
                        },
                        [&](const FailAllCommand& fail) { engine_.fail_all(fail.failure); },
                        [&](const GiveUpCommand& give_up) { cluster_.give_up(give_up.reason); },
                        [&](const StopCommand&) { is_stopping_ = true; }},
             command);
}

void EngineThread::deliver_updates() {
  std::vector<SequenceUpdate> updates = engine_.take_updates();
  if (!updates.empty()) sink_.on_updates(std::move(updates));
}

void EngineThread::publish() {
  next_publication_ = clock_.now() + kPublicationInterval;
  is_publication_due_ = false;
  ClusterStatus status;
  status.state = cluster_.state();
  status.reason = cluster_.reason();
  if (is_draining_ && status.state == ServerState::kReady) {
    status.state = ServerState::kDraining;
    status.reason = "the server is going down";
  }
  status.replicas = cluster_.replicas();
  ClusterMetrics metrics;
  metrics.state = status.state;
  metrics.engine = engine_.stats();
  metrics.replicas = cluster_.replica_metrics();
  status.num_running = metrics.engine.num_running;
  status.num_waiting = metrics.engine.num_waiting;
  const std::lock_guard lock(published_mutex_);
  status_ = std::move(status);
  metrics_ = std::move(metrics);
}

// Every turn, unlike the rest: a full queue must be known before the next prompt is prepared.
void EngineThread::publish_refusal() {
  std::optional<SequenceFailure> refusal = engine_.refusal();
  const std::lock_guard lock(published_mutex_);
  refusal_ = std::move(refusal);
}

// Who hears that a replica is ready may ask at once, and must not be told that it is not.
void EngineThread::tell_events() {
  for (const ClusterEvent& event : std::exchange(events_, {})) listener_(event);
}

void EngineThread::publish_failure(const std::string& reason) {
  const std::lock_guard lock(published_mutex_);
  status_.state = ServerState::kFailed;
  status_.reason = reason;
  metrics_.state = ServerState::kFailed;
}

}  // namespace tessera

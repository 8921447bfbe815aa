#include "coordinator/cluster/cluster.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

using Phase = ReplicaEntry::Phase;

// Foreign frames are counted; the first and then every so many are worth a line in the log.
constexpr std::uint64_t kForeignFramesPerEvent = 1000;

}  // namespace

Cluster::Cluster(const ClusterOptions& options,
                 Engine& engine,
                 RankTransport& transport,
                 const Clock& clock,
                 ClusterListener listener)
    : options_(options),
      engine_(engine),
      transport_(transport),
      clock_(clock),
      listener_(std::move(listener)),
      last_tick_(clock.now()),
      supervised_(options.supervised) {}

void Cluster::on_message(const wire::PeerId& peer, std::span<const std::byte> bytes) {
  const auto known = peers_.find(peer);
  std::optional<wire::Frame> frame;
  std::string damage;
  try {
    frame = wire::decode(bytes);
  } catch (const Error& error) {
    damage = error.what();
  }
  if (frame && std::holds_alternative<wire::Hello>(frame->message)) {
    on_hello(peer, std::get<wire::Hello>(frame->message));
  } else if (frame && std::holds_alternative<wire::Heartbeat>(frame->message)) {
    on_heartbeat(peer, std::get<wire::Heartbeat>(frame->message));
  } else if (known == peers_.end()) {
    // A frame that decodes comes from a rank that was told to leave: nothing to say about it.
    if (!frame && num_foreign_frames_++ % kForeignFramesPerEvent == 0) {
      emit(ClusterEventKind::kForeignFrame, nullptr, "ignored a message of a stranger: " + damage);
    }
  } else if (frame) {
    on_rank_message(PeerEntry(known->second), *frame);
  } else {
    ReplicaEntry& replica = *replicas_[known->second.replica];
    lose(replica, replica.name_of_rank(known->second.rank) + " sent a bad frame: " + damage);
  }
}

void Cluster::on_rank_message(const PeerEntry& from, const wire::Frame& frame) {
  ReplicaEntry& replica = *replicas_[from.replica];
  RankEntry& rank = replica.ranks[static_cast<std::size_t>(from.rank)].value();
  rank.last_heard = clock_.now();
  if (const auto* result = std::get_if<StepResult>(&frame.message)) {
    on_result(replica, from.rank, *result);
  } else if (std::holds_alternative<wire::Ready>(frame.message)) {
    on_ready(replica, rank, frame.epoch);
  } else if (const auto* failure = std::get_if<wire::RankFailure>(&frame.message)) {
    lose(replica, replica.name_of_rank(from.rank) + " failed: " + failure->message);
  } else {
    lose(replica, replica.name_of_rank(from.rank) + " sent a message that ranks do not send");
  }
}

// --- joining -------------------------------------------------------------------------------------

ReplicaEntry* Cluster::find_job(const std::string& job_id) {
  for (const auto& replica : replicas_) {
    if (!replica->is_lost() && replica->job_id == job_id) return replica.get();
  }
  return nullptr;
}

ReplicaEntry& Cluster::replica_for(const wire::Hello& hello) {
  if (ReplicaEntry* known = find_job(hello.job_id)) return *known;
  auto slot = std::find_if(replicas_.begin(), replicas_.end(),
                           [](const auto& replica) { return replica->is_lost(); });
  auto fresh = std::make_unique<ReplicaEntry>();
  if (slot == replicas_.end()) {
    fresh->id = static_cast<ReplicaId>(replicas_.size());
    slot = replicas_.insert(slot, std::move(fresh));
  } else {
    // The lost replica comes back: same id, its totals go on.
    fresh->id = (*slot)->id;
    fresh->num_restarts = (*slot)->num_restarts + 1;
    fresh->step_seconds = (*slot)->step_seconds;
    *slot = std::move(fresh);
  }
  (*slot)->job_id = hello.job_id;
  (*slot)->ranks.resize(static_cast<std::size_t>(hello.tp));
  (*slot)->join_deadline = clock_.now() + options_.join_timeout;
  return **slot;
}

void Cluster::on_hello(const wire::PeerId& peer, const wire::Hello& hello) {
  const auto other = std::find_if(replicas_.begin(), replicas_.end(), [&](const auto& replica) {
    return replica->phase == Phase::kRunning && replica->job_id != hello.job_id;
  });
  const std::string why = refusal(hello, options_, find_job(hello.job_id),
                                  other == replicas_.end() ? nullptr : other->get());
  if (!why.empty() || peers_.contains(peer)) {
    return refuse(peer, hello, why.empty() ? "this connection has joined already" : why);
  }
  ReplicaEntry& replica = replica_for(hello);
  RankEntry entry;
  entry.peer = peer;
  entry.hello = hello;
  entry.last_heard = clock_.now();
  replica.ranks[static_cast<std::size_t>(hello.rank)] = std::move(entry);
  peers_[peer] = {static_cast<std::size_t>(replica.id), hello.rank};
  emit(ClusterEventKind::kRankJoined, &replica,
       detail::concat(replica.name_of_rank(hello.rank), " of ", hello.tp, " joined replica ",
                      replica.id, " (", hello.device, ")"));
  if (replica.has_all_ranks()) configure(replica);
}

void Cluster::refuse(const wire::PeerId& peer, const wire::Hello& hello, const std::string& why) {
  const auto goodbye = wire::encode(0, wire::Goodbye{wire::GoodbyeKind::kRefused, why});
  // A rank that is gone again needs no answer.
  static_cast<void>(transport_.send(peer, goodbye));
  emit(ClusterEventKind::kRankRefused, nullptr,
       detail::concat("refused rank ", hello.rank, " on ", hello.host, ": ", why));
}

void Cluster::configure(ReplicaEntry& replica) {
  replica.phase = Phase::kConfiguring;
  replica.epoch = ++last_epoch_;
  replica.num_pages = common_num_pages(replica, options_.page_size);
  wire::Welcome welcome;
  welcome.page_size = options_.page_size;
  welcome.num_pages = replica.num_pages;
  welcome.max_step_rows = options_.max_step_rows;
  welcome.max_model_len = options_.max_model_len;
  welcome.max_sequences = options_.max_running_requests;
  welcome.heartbeat_interval = options_.heartbeat_interval;
  const auto bytes = wire::encode(replica.epoch, welcome);
  for (std::int32_t rank = 0; rank < replica.tp(); ++rank) {
    replica.ranks[static_cast<std::size_t>(rank)]->last_heard = clock_.now();
    if (!send(replica, rank, bytes)) return;
  }
}

void Cluster::on_ready(ReplicaEntry& replica, RankEntry& rank, std::uint64_t epoch) {
  if (replica.phase != Phase::kConfiguring || epoch != replica.epoch) return;
  rank.is_ready = true;
  if (!replica.is_all_ready()) return;
  replica.phase = Phase::kRunning;
  failure_.clear();
  engine_.add_replica(replica.id, replica.epoch, replica.num_pages);
  emit(ClusterEventKind::kReplicaReady, &replica,
       detail::concat("replica ", replica.id, " is ready: ", replica.tp(), " ranks, ",
                      replica.num_pages, " pages of ", options_.page_size, " tokens"));
}

// --- steps ---------------------------------------------------------------------------------------

void Cluster::start_steps() {
  for (const auto& replica : replicas_) {
    if (replica->phase == Phase::kRunning && !replica->outstanding) start_step(*replica);
  }
}

void Cluster::start_step(ReplicaEntry& replica) {
  const TimePoint begin = clock_.now();
  const std::optional<StepPlan> plan = engine_.next_step(replica.id);
  if (!plan) return;
  StepInFlight step;
  step.step = plan->step;
  step.sent_at = clock_.now();
  step.scheduling = step.sent_at - begin;
  step.has_answered.resize(replica.ranks.size());
  replica.outstanding = std::move(step);
  const auto bytes = wire::encode(*plan);
  for (std::int32_t rank = 0; rank < replica.tp(); ++rank) {
    if (!send(replica, rank, bytes)) return;
  }
}

void Cluster::on_result(ReplicaEntry& replica, std::int32_t rank, const StepResult& result) {
  auto& outstanding = replica.outstanding;
  const auto index = static_cast<std::size_t>(rank);
  if (result.epoch != replica.epoch || !outstanding || result.step != outstanding->step ||
      outstanding->has_answered[index]) {
    return;
  }
  if (result.rank != rank) {
    lose(replica, detail::concat(replica.name_of_rank(rank), " answered as rank ", result.rank));
    return;
  }
  StepTiming& total = replica.ranks[index]->total;
  total.compute_seconds += result.timing.compute_seconds;
  total.collective_seconds += result.timing.collective_seconds;
  StepTiming& slowest = outstanding->slowest;
  slowest.compute_seconds = std::max(slowest.compute_seconds, result.timing.compute_seconds);
  slowest.collective_seconds =
      std::max(slowest.collective_seconds, result.timing.collective_seconds);
  if (rank == 0) outstanding->result = result;
  outstanding->has_answered[index] = true;
  if (++outstanding->num_answers == replica.tp()) finish_step(replica);
}

void Cluster::finish_step(ReplicaEntry& replica) {
  const StepInFlight step = std::move(*replica.outstanding);
  replica.outstanding.reset();
  const TimePoint arrived = clock_.now();
  try {
    engine_.apply(replica.id, step.result);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::kTransport) throw;
    lose(replica, replica.name_of_rank(0) + " sent a wrong result: " + error.what());
    return;
  }
  const auto observe = [&](StepPhase phase, double seconds) {
    replica.step_seconds[static_cast<std::size_t>(phase)].observe_seconds(std::max(seconds, 0.0));
  };
  const auto seconds = [](Duration d) { return std::chrono::duration<double>(d).count(); };
  const double on_ranks = step.slowest.compute_seconds + step.slowest.collective_seconds;
  observe(StepPhase::kSchedule, seconds(step.scheduling));
  observe(StepPhase::kWire, seconds(arrived - step.sent_at) - on_ranks);
  observe(StepPhase::kCompute, step.slowest.compute_seconds);
  observe(StepPhase::kCollective, step.slowest.collective_seconds);
  observe(StepPhase::kApply, seconds(clock_.now() - arrived));
}

// --- liveness ------------------------------------------------------------------------------------

void Cluster::on_heartbeat(const wire::PeerId& peer, const wire::Heartbeat& heartbeat) {
  ReplicaEntry* replica = heartbeat.token == options_.token ? find_job(heartbeat.job_id) : nullptr;
  if (replica == nullptr || heartbeat.rank < 0 || heartbeat.rank >= replica->tp() ||
      !replica->ranks[static_cast<std::size_t>(heartbeat.rank)]) {
    // Of a replica that was torn down, or of another life of the coordinator.
    const auto goodbye = wire::encode(
        0, wire::Goodbye{wire::GoodbyeKind::kLost, "the coordinator does not know this job"});
    static_cast<void>(transport_.send(peer, goodbye));
    return;
  }
  RankEntry& rank = *replica->ranks[static_cast<std::size_t>(heartbeat.rank)];
  rank.pulse_peer = peer;
  rank.last_heard = clock_.now();
}

void Cluster::on_time() {
  const TimePoint now = clock_.now();
  if (now < last_tick_ + options_.heartbeat_interval) return;
  // When this process itself did not run (suspended, starved), silence says nothing about ranks.
  const bool was_away = now - last_tick_ > options_.heartbeat_timeout / 2;
  last_tick_ = now;
  for (const auto& replica : replicas_) {
    if (replica->is_lost()) continue;
    if (was_away) {
      for (auto& rank : replica->ranks) {
        if (rank) rank->last_heard = now;
      }
    }
    send_heartbeats(*replica);
    if (!replica->is_lost()) check_timeouts(*replica, now);
  }
}

TimePoint Cluster::next_wakeup() const {
  return last_tick_ + options_.heartbeat_interval;
}

void Cluster::send_heartbeats(ReplicaEntry& replica) {
  const auto heartbeat = wire::encode(replica.epoch, wire::Heartbeat{});
  for (std::int32_t rank = 0; rank < replica.tp(); ++rank) {
    const auto& entry = replica.ranks[static_cast<std::size_t>(rank)];
    if (!entry) continue;
    // Doubles as the probe for closed connections.
    if (!send(replica, rank, heartbeat)) return;
    if (entry->pulse_peer.empty()) continue;
    if (transport_.send(entry->pulse_peer, heartbeat) == wire::SendOutcome::kPeerGone) {
      return lose(replica, replica.name_of_rank(rank) + " is gone: its connection closed");
    }
  }
}

void Cluster::check_timeouts(ReplicaEntry& replica, TimePoint now) {
  if (replica.phase != Phase::kRunning && now >= replica.join_deadline) {
    return lose(replica, detail::concat("rank(s) ", replica.missing_ranks(), " of replica ",
                                        replica.id, " did not become ready within ",
                                        options_.join_timeout.count(), " ms"));
  }
  if (replica.phase == Phase::kGathering) return;  // its ranks send no heartbeats yet
  for (std::int32_t rank = 0; rank < replica.tp(); ++rank) {
    const Duration silence = now - replica.ranks[static_cast<std::size_t>(rank)]->last_heard;
    if (silence <= options_.heartbeat_timeout) continue;
    return lose(replica, detail::concat(replica.name_of_rank(rank), " is silent for more than ",
                                        options_.heartbeat_timeout.count(), " ms"));
  }
  if (replica.outstanding && now >= replica.outstanding->sent_at + options_.step_timeout) {
    lose(replica, detail::concat("rank(s) ", replica.missing_ranks(), " of replica ", replica.id,
                                 " did not answer step ", replica.outstanding->step, " within ",
                                 options_.step_timeout.count(), " ms"));
  }
}

bool Cluster::send(ReplicaEntry& replica, std::int32_t rank, std::span<const std::byte> bytes) {
  switch (transport_.send(replica.ranks[static_cast<std::size_t>(rank)]->peer, bytes)) {
    case wire::SendOutcome::kSent: return true;
    case wire::SendOutcome::kPeerGone:
      lose(replica, replica.name_of_rank(rank) + " is gone: its connection closed");
      return false;
    case wire::SendOutcome::kPeerSlow:
      lose(replica, replica.name_of_rank(rank) + " does not read its messages");
      return false;
  }
  return false;
}

void Cluster::lose(ReplicaEntry& replica, const std::string& why) {
  const bool was_running = replica.phase == Phase::kRunning;
  replica.phase = Phase::kLost;
  replica.outstanding.reset();
  say_goodbye(replica, wire::GoodbyeKind::kLost, why);
  forget_peers(replica);
  if (was_running) engine_.remove_replica(replica.id);
  emit(ClusterEventKind::kReplicaLost, &replica,
       detail::concat("replica ", replica.id, " is lost: ", why));
  fail_if_nobody_is_left(why);
}

void Cluster::say_goodbye(const ReplicaEntry& replica,
                          wire::GoodbyeKind kind,
                          const std::string& reason) {
  const auto goodbye = wire::encode(replica.epoch, wire::Goodbye{kind, reason});
  for (const auto& rank : replica.ranks) {
    if (!rank) continue;
    // To a dead rank it cannot be said; the others must leave. The pulse hears it even when the
    // rank waits in a collective for the dead one.
    static_cast<void>(transport_.send(rank->peer, goodbye));
    if (kind == wire::GoodbyeKind::kLost && !rank->pulse_peer.empty()) {
      static_cast<void>(transport_.send(rank->pulse_peer, goodbye));
    }
  }
}

void Cluster::forget_peers(const ReplicaEntry& replica) {
  for (const auto& rank : replica.ranks) {
    if (rank) peers_.erase(rank->peer);
  }
}

void Cluster::fail_if_nobody_is_left(const std::string& why) {
  if (supervised_) return;
  const bool somebody = std::any_of(replicas_.begin(), replicas_.end(),
                                    [](const auto& replica) { return !replica->is_lost(); });
  if (somebody) return;
  failure_ = why;
  emit(ClusterEventKind::kNoReplicaLeft, nullptr,
       "no replica is left; requests are refused until one joins");
  refuse_if_failed();
}

void Cluster::refuse_if_failed() {
  if (failure_.empty()) return;
  engine_.fail_all({FailureReason::kRankLost,
                    "the workers of this server are lost (" + failure_ + "); try again later"});
}

void Cluster::give_up(const std::string& reason) {
  supervised_ = false;
  fail_if_nobody_is_left(reason);
}

void Cluster::shut_down() {
  for (const auto& replica : replicas_) {
    if (replica->is_lost()) continue;
    say_goodbye(*replica, wire::GoodbyeKind::kShutdown, "the server shuts down");
    forget_peers(*replica);
    if (replica->phase == Phase::kRunning) engine_.remove_replica(replica->id);
    replica->phase = Phase::kLost;
    replica->outstanding.reset();
  }
}

// --- reports -------------------------------------------------------------------------------------

ServerState Cluster::state() const {
  const bool is_running = std::any_of(replicas_.begin(), replicas_.end(), [](const auto& replica) {
    return replica->phase == Phase::kRunning;
  });
  if (is_running) return ServerState::kReady;
  return failure_.empty() ? ServerState::kStarting : ServerState::kFailed;
}

std::string Cluster::reason() const {
  switch (state()) {
    case ServerState::kReady: return {};
    case ServerState::kFailed: return failure_;
    default: break;
  }
  const bool had_replica = std::any_of(replicas_.begin(), replicas_.end(),
                                       [](const auto& replica) { return replica->is_lost(); });
  return had_replica ? "a lost replica is being restarted" : "no replica has joined yet";
}

std::vector<ReplicaStatus> Cluster::replicas() const {
  std::vector<ReplicaStatus> all;
  for (const auto& replica : replicas_) all.push_back(replica->status(clock_.now()));
  return all;
}

std::vector<ReplicaMetrics> Cluster::replica_metrics() const {
  std::vector<ReplicaMetrics> all;
  for (const auto& replica : replicas_) {
    ReplicaMetrics metrics;
    metrics.id = replica->id;
    metrics.num_restarts = replica->num_restarts;
    metrics.step_seconds = replica->step_seconds;
    const ReplicaStatus status = replica->status(clock_.now());
    for (std::size_t i = 0; i < replica->ranks.size(); ++i) {
      const StepTiming total = replica->ranks[i] ? replica->ranks[i]->total : StepTiming{};
      metrics.ranks.push_back({status.ranks[i], total.compute_seconds, total.collective_seconds});
    }
    all.push_back(std::move(metrics));
  }
  return all;
}

void Cluster::emit(ClusterEventKind kind, const ReplicaEntry* replica, std::string text) const {
  ClusterEvent event;
  event.kind = kind;
  event.text = std::move(text);
  if (replica != nullptr) {
    event.replica = replica->id;
    event.job_id = replica->job_id;
  }
  listener_(event);
}

}  // namespace tessera

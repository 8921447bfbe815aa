#include "tests/coordinator/cluster/wire_simulation.h"

#include <algorithm>
#include <utility>

#include "strategies/strategy_registry.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;

constexpr std::int32_t kPageSize = 8;
constexpr int kMaxMilliseconds = 60'000;
constexpr const char* kPulse = "/pulse";

}  // namespace

ModelFacts WireSimulation::facts() {
  ModelFacts facts;
  facts.vocab_size = 48;
  facts.tokenizer_size = 45;
  facts.mask_id = 44;
  return facts;
}

WireSimulation::WireSimulation(std::uint32_t seed) : seed_(seed), rng_(seed) {
  options_.page_size = kPageSize;
  options_.max_step_rows = 24;
  options_.heartbeat_interval = milliseconds(20);
  options_.heartbeat_timeout = milliseconds(100);
  options_.join_timeout = milliseconds(400);
  options_.step_timeout = milliseconds(300);
  options_.supervised = true;
  EngineOptions engine_options;
  engine_options.page_size = kPageSize;
  engine_options.max_step_rows = options_.max_step_rows;
  engine_options.vocab_size = facts().vocab_size;
  engine_ = std::make_unique<Engine>(engine_options, clock_);
  cluster_ = std::make_unique<Cluster>(options_, *engine_, transport_, clock_,
                                       [this](const ClusterEvent& event) {
                                         if (event.kind == ClusterEventKind::kReplicaLost)
                                           ++num_lost_;
                                       });
  num_to_submit_ = 1 + draw(8);
  num_wanted_jobs_ = 1 + static_cast<int>(draw(2));
  troubles_left_ = static_cast<int>(draw(6));
}

// --- the wire ------------------------------------------------------------------------------------

wire::SendOutcome WireSimulation::Transport::send(const wire::PeerId& peer,
                                                  std::span<const std::byte> bytes) {
  const std::string name = peer.substr(0, peer.find(kPulse));
  const auto rank = simulation_.ranks_.find(name);
  if (rank == simulation_.ranks_.end() || !rank->second.is_connected) {
    return wire::SendOutcome::kPeerGone;
  }
  const TimePoint due = simulation_.clock_.now() + milliseconds(simulation_.draw(3));
  simulation_.to_ranks_.push_back({due, name, {bytes.begin(), bytes.end()}});
  return wire::SendOutcome::kSent;
}

void WireSimulation::post(const std::string& peer, wire::Bytes bytes) {
  to_coordinator_.push_back({clock_.now() + milliseconds(draw(3)), peer, std::move(bytes)});
}

// In order for each peer: a letter waits for those sent before it.
void WireSimulation::deliver_to_coordinator() {
  std::vector<Letter> letters = std::exchange(to_coordinator_, {});
  for (Letter& letter : letters) {
    const bool waits = std::ranges::any_of(
        to_coordinator_, [&](const Letter& earlier) { return earlier.peer == letter.peer; });
    if (waits || letter.due > clock_.now()) {
      to_coordinator_.push_back(std::move(letter));
    } else {
      cluster_->on_message(letter.peer, letter.bytes);
    }
  }
}

void WireSimulation::deliver_to_ranks() {
  std::vector<Letter> letters = std::exchange(to_ranks_, {});
  for (Letter& letter : letters) {
    const auto rank = ranks_.find(letter.peer);
    if (rank == ranks_.end() || !rank->second.is_connected) continue;
    const bool waits = std::ranges::any_of(
        to_ranks_, [&](const Letter& earlier) { return earlier.peer == letter.peer; });
    if (waits || letter.due > clock_.now() || rank->second.is_silent) {
      to_ranks_.push_back(std::move(letter));
    } else {
      receive(rank->first, rank->second, letter.bytes);
    }
  }
}

// --- ranks ---------------------------------------------------------------------------------------

void WireSimulation::start_job() {
  const std::string job = "job " + std::to_string(++num_jobs_);
  const auto tp = static_cast<std::int32_t>(1U << draw(2));
  const bool comes_up = draw(6) != 0;
  for (std::int32_t rank = 0; rank < tp; ++rank) {
    if (!comes_up && rank == tp - 1 && tp > 1) break;  // the last one never says Hello
    wire::Hello hello;
    hello.job_id = job;
    hello.rank = rank;
    hello.tp = tp;
    hello.host = "host";
    hello.device = "hash";
    hello.kv_bytes_per_token = 1;
    hello.kv_memory_bytes = std::int64_t{kPageSize} * (20 + rank);
    const std::string peer = job + " rank " + std::to_string(rank);
    ranks_[peer] = Rank{job, rank, tp, nullptr};
    post(peer, wire::encode(0, hello));
  }
}

void WireSimulation::receive(const std::string& peer, Rank& rank, const wire::Bytes& bytes) {
  const wire::Frame frame = wire::decode(bytes);
  if (const auto* welcome = std::get_if<wire::Welcome>(&frame.message)) {
    rank.epoch = frame.epoch;
    rank.executor =
        std::make_unique<HashExecutor>(facts(), seed_, welcome->page_size, welcome->num_pages);
    post(peer, wire::encode(rank.epoch, wire::Ready{}));
  } else if (const auto* plan = std::get_if<StepPlan>(&frame.message)) {
    StepResult result = rank.executor->run(*plan);
    result.rank = rank.rank;
    if (rank.rank != 0) result.spans.clear();
    if (!rank.is_hanging) post(peer, wire::encode(result));
  } else if (std::holds_alternative<wire::Goodbye>(frame.message)) {
    rank.is_connected = false;
  }
}

void WireSimulation::pulse(const std::string& peer, const Rank& rank) {
  if (!rank.is_connected || rank.is_silent || rank.executor == nullptr) return;
  post(peer + kPulse, wire::encode(rank.epoch, wire::Heartbeat{rank.job, "", rank.rank}));
}

void WireSimulation::make_trouble() {
  std::vector<std::string> connected;
  for (const auto& [peer, rank] : ranks_) {
    if (rank.is_connected) connected.push_back(peer);
  }
  if (connected.empty()) return;
  --troubles_left_;
  const std::string& peer = connected[draw(static_cast<std::uint32_t>(connected.size()))];
  Rank& rank = ranks_.at(peer);
  wire::Bytes noise(draw(64), std::byte{0x5A});
  switch (draw(6)) {
    case 0: rank.is_connected = false; break;
    case 1: rank.is_hanging = true; break;
    case 2: rank.is_silent = true; break;
    case 3: post(peer, noise); break;
    case 4: post("stranger", noise); break;
    default: post(peer, wire::encode(rank.epoch, wire::RankFailure{ErrorCode::kDevice, "on fire"}));
  }
}

// --- the whole -----------------------------------------------------------------------------------

void WireSimulation::submit() {
  Outcome outcome;
  SequenceRequest& request = outcome.request;
  request.id = requests_.size() + 1;
  request.prompt.resize(1 + draw(30));
  for (TokenId& token : request.prompt) token = static_cast<TokenId>(draw(44));
  request.strategy = create_strategy(
      "multi_bd", facts(), {{"block_size", std::int64_t{4}}, {"buffer_size", std::int64_t{2}}});
  request.limits.max_tokens = 1 + static_cast<std::int32_t>(draw(60));
  request.limits.max_model_len = 1000;
  request.priority = static_cast<std::int32_t>(draw(3));
  engine_->submit(request);
  cluster_->refuse_if_failed();
  requests_.emplace(request.id, std::move(outcome));
  ++num_open_;
}

void WireSimulation::take_updates() {
  for (SequenceUpdate& update : engine_->take_updates()) {
    Outcome& outcome = requests_.at(update.id);
    TESSERA_CHECK(!outcome.last.has_value(), "request ", update.id, " has news after its end");
    outcome.tokens.insert(outcome.tokens.end(), update.frozen.begin(), update.frozen.end());
    if (!update.is_last()) continue;
    outcome.last = std::move(update);
    --num_open_;
  }
}

void WireSimulation::tick() {
  clock_.advance(milliseconds(1));
  const auto is_alive = [&](int job) {
    return std::ranges::any_of(ranks_, [&](const auto& entry) {
      return entry.second.job == "job " + std::to_string(job) && entry.second.is_connected;
    });
  };
  int num_alive = 0;
  for (int job = 1; job <= num_jobs_; ++job) num_alive += is_alive(job) ? 1 : 0;
  if (num_alive < num_wanted_jobs_ && draw(20) == 0) start_job();
  if (requests_.size() < num_to_submit_ && draw(10) == 0) submit();
  if (troubles_left_ > 0 && draw(40) == 0) make_trouble();
  for (const auto& [peer, rank] : ranks_) {
    if (draw(15) == 0) pulse(peer, rank);
  }
  deliver_to_ranks();
  deliver_to_coordinator();
  cluster_->on_time();
  cluster_->start_steps();
  engine_->check_integrity();
  take_updates();
  // What a supervisor does with a job that was lost: its other ranks end, too.
  for (auto& [peer, rank] : ranks_) {
    if (rank.is_silent && draw(300) == 0) rank.is_connected = false;
  }
}

bool WireSimulation::run() {
  for (int i = 0; i < kMaxMilliseconds; ++i) {
    tick();
    if (requests_.size() == num_to_submit_ && num_open_ == 0) return true;
  }
  return false;
}

}  // namespace tessera

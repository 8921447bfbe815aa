#include "tests/integration/cluster/test_cluster.h"

#include <gtest/gtest.h>

#include <chrono>

#include "strategies/strategy_registry.h"

namespace tessera::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr seconds kPatience{20};

EngineOptions engine_options() {
  EngineOptions options;
  options.page_size = kHashPageSize;
  options.max_step_rows = 128;
  return options;
}

}  // namespace

SequenceRequest hash_request(RequestId id, std::int32_t prompt_len, std::int32_t max_tokens) {
  SequenceRequest request;
  request.id = id;
  for (std::int32_t i = 0; i < prompt_len; ++i) {
    request.prompt.push_back(static_cast<TokenId>((id * 31 + static_cast<RequestId>(i) * 7) % 100));
  }
  request.strategy = create_strategy("multi_bd", hash_facts(), {});
  request.sampling.seed = id;
  request.limits.max_tokens = max_tokens;
  request.limits.max_model_len = 1024;
  return request;
}

std::vector<TokenId> tokens_alone(const SequenceRequest& request) {
  const SystemClock clock;
  Engine engine(engine_options(), clock);
  HashExecutor executor(hash_facts(), kHashSeed, kHashPageSize, kHashNumPages);
  engine.add_replica(0, 1, kHashNumPages);
  engine.submit(request);
  std::vector<TokenId> tokens;
  while (!engine.is_idle()) {
    const auto plan = engine.next_step(0);
    if (!plan) break;
    engine.apply(0, executor.run(*plan));
    for (const SequenceUpdate& update : engine.take_updates()) {
      tokens.insert(tokens.end(), update.frozen.begin(), update.frozen.end());
    }
  }
  return tokens;
}

void CollectingSink::on_updates(std::vector<SequenceUpdate> updates) {
  const std::lock_guard lock(mutex_);
  for (SequenceUpdate& update : updates) {
    Answer& answer = answers_[update.id];
    EXPECT_FALSE(answer.is_last) << "an update after the last one of request " << update.id;
    answer.tokens.insert(answer.tokens.end(), update.frozen.begin(), update.frozen.end());
    answer.finish = update.finish;
    answer.failure = update.failure;
    answer.is_last = update.is_last();
  }
  changed_.notify_all();
}

void CollectingSink::await(RequestId id, const std::function<bool(const Answer&)>& condition) {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return condition(answers_[id]); }))
      << "request " << id << " did not get that far";
}

CollectingSink::Answer CollectingSink::await_last(RequestId id) {
  await(id, [](const Answer& answer) { return answer.is_last; });
  const std::lock_guard lock(mutex_);
  return answers_[id];
}

void CollectingSink::await_first_token(RequestId id) {
  await(id, [](const Answer& answer) { return !answer.tokens.empty() || answer.is_last; });
}

void Gate::close() {
  const std::lock_guard lock(mutex_);
  is_open_ = false;
}

void Gate::open() {
  const std::lock_guard lock(mutex_);
  is_open_ = true;
  changed_.notify_all();
}

void Gate::pass() {
  std::unique_lock lock(mutex_);
  ++num_blocked_;
  changed_.notify_all();
  changed_.wait(lock, [&] { return is_open_; });
  --num_blocked_;
}

void Gate::await_blocked() {
  std::unique_lock lock(mutex_);
  EXPECT_TRUE(changed_.wait_for(lock, kPatience, [&] { return !is_open_ && num_blocked_ > 0; }));
}

class TestRank::Executor final : public HashRankExecutor {
 public:
  Executor(Gate& gate, std::int32_t rank, const std::string& device, bool expert_parallel)
      : HashRankExecutor(rank, device, expert_parallel), gate_(gate) {}

  void configure(const RankConfig& config) override {
    EXPECT_EQ(config.num_pages, kHashNumPages) << "the least of all ranks";
    HashRankExecutor::configure(config);
  }

  StepResult run(const StepPlan& plan) override {
    gate_.pass();
    return HashRankExecutor::run(plan);
  }

 private:
  Gate& gate_;
};

TestRank::TestRank(const std::string& endpoint,
                   const std::string& job,
                   std::int32_t rank,
                   std::int32_t tp,
                   const std::string& device,
                   const std::string& token,
                   bool expert_parallel) {
  RankLoopOptions options;
  options.coordinator = endpoint;
  options.token = token;
  options.job_id = job;
  options.host = "here";
  options.rank = rank;
  options.tp = tp;
  thread_ = std::thread([this, options, rank, device, expert_parallel] {
    Executor executor(gate_, rank, device, expert_parallel);
    try {
      outcome_ = run_rank(context_, options, executor, [](const std::string&) {});
    } catch (const zmq::error_t& error) {
      outcome_ = {RankExit::kLost, error.what()};
    } catch (const Error& error) {
      outcome_ = {RankExit::kLost, error.what()};
    }
  });
}

TestRank::~TestRank() {
  gate_.open();
  kill();
}

void TestRank::kill() {
  context_.shutdown();
  if (thread_.joinable()) thread_.join();
}

RankOutcome TestRank::join() {
  if (thread_.joinable()) thread_.join();
  return outcome_;
}

ClusterOptions TestCoordinator::quick_options() {
  ClusterOptions options;
  options.token = "secret";
  options.page_size = kHashPageSize;
  options.max_step_rows = 128;
  options.max_model_len = 1024;
  options.heartbeat_interval = milliseconds(50);
  options.heartbeat_timeout = seconds(5);
  options.join_timeout = seconds(15);
  options.step_timeout = seconds(15);
  return options;
}

TestCoordinator::TestCoordinator(ClusterOptions options)
    : engine(engine_options(),
             options,
             "tcp://127.0.0.1:*",
             sink,
             clock,
             [this](const ClusterEvent& event) { on_event(event); }) {
  engine.start();
}

void TestCoordinator::on_event(const ClusterEvent& event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(event);
  changed_.notify_all();
}

std::string TestCoordinator::await_event(ClusterEventKind kind, int count) {
  std::unique_lock lock(mutex_);
  std::string text;
  const auto seen = [&] {
    int left = count;
    for (const ClusterEvent& event : events_) {
      if (event.kind == kind && --left == 0) {
        text = event.text;
        return true;
      }
    }
    return false;
  };
  EXPECT_TRUE(changed_.wait_for(lock, kPatience, seen))
      << "event " << static_cast<int>(kind) << " was not seen " << count << " times";
  return text;
}

void TestCoordinator::await_state(ServerState state) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (engine.status().state != state) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
}

}  // namespace tessera::testing

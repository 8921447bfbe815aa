#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "common/base/clock.h"
#include "coordinator/cluster/engine_thread.h"
#include "tests/integration/cluster/hash_rank_executor.h"
#include "worker/runtime/rank_loop.h"

namespace tessera::testing {

/// A request of multi_bd over the hash model.
SequenceRequest hash_request(RequestId id, std::int32_t prompt_len, std::int32_t max_tokens);

/// Tokens of a request that runs alone, without threads, sockets or pages that are short.
std::vector<TokenId> tokens_alone(const SequenceRequest& request);

/// Collects updates; waits for conditions on them.
class CollectingSink final : public UpdateSink {
 public:
  struct Answer {
    std::vector<TokenId> tokens;
    std::optional<FinishReason> finish;
    std::optional<SequenceFailure> failure;
    bool is_last = false;
  };

  void on_updates(std::vector<SequenceUpdate> updates) override;

  /// The answer once it is complete; fails the test when that takes too long.
  Answer await_last(RequestId id);

  /// Returns once some token of the request has arrived.
  void await_first_token(RequestId id);

 private:
  void await(RequestId id, const std::function<bool(const Answer&)>& condition);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<RequestId, Answer> answers_;
};

/// A gate that a rank passes in every step; closed, the rank hangs in its step.
class Gate {
 public:
  void close();
  void open();
  void pass();
  void await_blocked();  ///< Returns once a rank waits at the gate.

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_open_ = true;
  int num_blocked_ = 0;
};

/// A rank as a thread: the real rank loop over the hash executor.
class TestRank {
 public:
  TestRank(const std::string& endpoint,
           const std::string& job,
           std::int32_t rank,
           std::int32_t tp,
           const std::string& device = "hash",
           const std::string& token = "secret",
           bool expert_parallel = false);
  ~TestRank();

  Gate& gate() { return gate_; }

  /// Closes all connections at once, as a killed process does.
  void kill();

  /// Waits for the end of the loop.
  RankOutcome join();

 private:
  class Executor;

  Gate gate_;
  zmq::context_t context_;
  RankOutcome outcome_;
  std::thread thread_;
};

/// A coordinator's engine thread with short times, and what happens to it.
class TestCoordinator {
 public:
  explicit TestCoordinator(ClusterOptions options = quick_options());
  ~TestCoordinator() { engine.stop(); }

  static ClusterOptions quick_options();

  /// Returns once an event of the kind was seen `count` times; its text.
  std::string await_event(ClusterEventKind kind, int count = 1);

  void await_state(ServerState state);

  SystemClock clock;
  CollectingSink sink;
  EngineThread engine;

 private:
  void on_event(const ClusterEvent& event);

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<ClusterEvent> events_;
};

}  // namespace tessera::testing

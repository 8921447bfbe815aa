#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "common/wire/codec.h"
#include "tests/integration/cluster/test_cluster.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;
using testing::hash_request;
using testing::TestCoordinator;
using testing::TestRank;
using testing::tokens_alone;

using Ranks = std::vector<std::unique_ptr<TestRank>>;

Ranks start_job(const TestCoordinator& coordinator, const std::string& job, std::int32_t tp) {
  Ranks ranks;
  for (std::int32_t rank = 0; rank < tp; ++rank) {
    ranks.push_back(std::make_unique<TestRank>(coordinator.engine.endpoint(), job, rank, tp));
  }
  return ranks;
}

TEST(ClusterTest, AnswersLikeARequestAlone) {
  TestCoordinator coordinator;
  const Ranks ranks = start_job(coordinator, "job", 2);
  for (RequestId id = 1; id <= 8; ++id) coordinator.engine.submit(hash_request(id, 20 + id, 40));
  for (RequestId id = 1; id <= 8; ++id) {
    const auto answer = coordinator.sink.await_last(id);
    EXPECT_FALSE(answer.failure.has_value());
    EXPECT_EQ(answer.tokens, tokens_alone(hash_request(id, 20 + static_cast<int>(id), 40)));
  }
  coordinator.engine.stop();
  EXPECT_EQ(ranks[0]->join().exit, RankExit::kShutdown);
  EXPECT_EQ(ranks[1]->join().exit, RankExit::kShutdown);
}

TEST(ClusterTest, CancelsWhileARankComputes) {
  TestCoordinator coordinator;
  const Ranks ranks = start_job(coordinator, "job", 1);
  coordinator.engine.submit(hash_request(1, 20, 900));
  coordinator.sink.await_first_token(1);
  coordinator.engine.cancel(1);
  const auto answer = coordinator.sink.await_last(1);
  ASSERT_TRUE(answer.failure.has_value());
  EXPECT_EQ(answer.failure->reason, FailureReason::kCancelled);
}

TEST(ClusterTest, DrainFinishesWhatWasAcceptedAndRefusesTheRest) {
  TestCoordinator coordinator;
  const Ranks ranks = start_job(coordinator, "job", 1);
  coordinator.engine.submit(hash_request(1, 20, 60));
  coordinator.engine.drain();
  coordinator.engine.submit(hash_request(2, 20, 60));
  EXPECT_EQ(coordinator.sink.await_last(1).tokens, tokens_alone(hash_request(1, 20, 60)));
  const auto refused = coordinator.sink.await_last(2);
  ASSERT_TRUE(refused.failure.has_value());
  EXPECT_EQ(refused.failure->reason, FailureReason::kDraining);
  const auto refusal = coordinator.engine.refusal();
  ASSERT_TRUE(refusal.has_value()) << "who asks before submitting hears the same";
  EXPECT_EQ(refusal->reason, FailureReason::kDraining);
}

TEST(ClusterTest, RebuildsTheRequestsOfADeadRankElsewhere) {
  auto options = TestCoordinator::quick_options();
  options.supervised = true;
  TestCoordinator coordinator(options);
  Ranks first = start_job(coordinator, "job 1", 2);
  coordinator.await_event(ClusterEventKind::kReplicaReady);
  coordinator.engine.submit(hash_request(1, 50, 200));
  coordinator.sink.await_first_token(1);
  first[1]->kill();
  const std::string text = coordinator.await_event(ClusterEventKind::kReplicaLost);
  EXPECT_NE(text.find("rank 1 on here"), std::string::npos) << text;
  EXPECT_EQ(first[0]->join().exit, RankExit::kLost) << "the others are told to leave";

  const Ranks second = start_job(coordinator, "job 2", 2);
  const auto answer = coordinator.sink.await_last(1);
  EXPECT_FALSE(answer.failure.has_value());
  EXPECT_EQ(answer.tokens, tokens_alone(hash_request(1, 50, 200)));
}

TEST(ClusterTest, LosesARankThatHangsInAStep) {
  auto options = TestCoordinator::quick_options();
  options.step_timeout = milliseconds(300);
  TestCoordinator coordinator(options);
  const Ranks ranks = start_job(coordinator, "job", 2);
  coordinator.await_event(ClusterEventKind::kReplicaReady);
  ranks[1]->gate().close();
  coordinator.engine.submit(hash_request(1, 20, 40));
  const std::string text = coordinator.await_event(ClusterEventKind::kReplicaLost);
  EXPECT_NE(text.find("rank(s) 1"), std::string::npos) << text;
  const auto answer = coordinator.sink.await_last(1);
  ASSERT_TRUE(answer.failure.has_value()) << "nobody restarts replicas here";
  EXPECT_EQ(answer.failure->reason, FailureReason::kRankLost);
  coordinator.await_state(ServerState::kFailed);
  coordinator.engine.submit(hash_request(2, 20, 40));
  EXPECT_EQ(coordinator.sink.await_last(2).failure.value().reason, FailureReason::kRankLost);
}

TEST(ClusterTest, ALongStepIsNotADeadRank) {
  auto options = TestCoordinator::quick_options();
  options.heartbeat_interval = milliseconds(20);
  options.heartbeat_timeout = milliseconds(500);
  TestCoordinator coordinator(options);
  const Ranks ranks = start_job(coordinator, "job", 1);
  coordinator.await_event(ClusterEventKind::kReplicaReady);
  ranks[0]->gate().close();
  coordinator.engine.submit(hash_request(1, 20, 40));
  ranks[0]->gate().await_blocked();
  // Three times the heartbeat's time-out pass within the step.
  const auto until = std::chrono::steady_clock::now() + milliseconds(1500);
  while (std::chrono::steady_clock::now() < until) {
    ASSERT_NE(coordinator.engine.status().state, ServerState::kFailed);
    std::this_thread::yield();
  }
  ranks[0]->gate().open();
  EXPECT_EQ(coordinator.sink.await_last(1).tokens, tokens_alone(hash_request(1, 20, 40)));
}

TEST(ClusterTest, SharesRequestsAmongReplicasAndSurvivesTheLossOfOne) {
  TestCoordinator coordinator;
  Ranks first = start_job(coordinator, "job 1", 1);
  const Ranks second = start_job(coordinator, "job 2", 1);
  coordinator.await_event(ClusterEventKind::kReplicaReady, 2);
  for (RequestId id = 1; id <= 6; ++id) coordinator.engine.submit(hash_request(id, 20, 120));
  coordinator.sink.await_first_token(1);
  first[0]->kill();
  for (RequestId id = 1; id <= 6; ++id) {
    const auto answer = coordinator.sink.await_last(id);
    EXPECT_FALSE(answer.failure.has_value()) << "the other replica goes on";
    EXPECT_EQ(answer.tokens, tokens_alone(hash_request(id, 20, 120)));
  }
  EXPECT_EQ(coordinator.engine.status().state, ServerState::kReady);
}

TEST(ClusterTest, RefusesRanksThatDoNotFitAndSaysWhy) {
  TestCoordinator coordinator;
  const std::string endpoint = coordinator.engine.endpoint();
  TestRank stranger(endpoint, "job 0", 0, 1, "hash", "wrong");
  const RankOutcome wrong_token = stranger.join();
  EXPECT_EQ(wrong_token.exit, RankExit::kRefused);
  EXPECT_NE(wrong_token.reason.find("token"), std::string::npos);

  TestRank three(endpoint, "job 1", 0, 3);
  EXPECT_NE(three.join().reason.find("1, 2, 4 or 8"), std::string::npos);

  TestRank avx512(endpoint, "job 2", 0, 2, "avx512_bf16");
  coordinator.await_event(ClusterEventKind::kRankJoined);
  TestRank avx2(endpoint, "job 2", 1, 2, "avx2");
  const RankOutcome other_device = avx2.join();
  EXPECT_EQ(other_device.exit, RankExit::kRefused);
  EXPECT_NE(other_device.reason.find("avx512_bf16"), std::string::npos) << other_device.reason;

  TestRank by_expert(endpoint, "job 2", 1, 2, "avx512_bf16", "secret", /*expert_parallel=*/true);
  const RankOutcome other_mode = by_expert.join();
  EXPECT_EQ(other_mode.exit, RankExit::kRefused);
  EXPECT_NE(other_mode.reason.find("expert_parallel true differs"), std::string::npos)
      << other_mode.reason;
}

TEST(ClusterTest, NamesTheRankThatNeverJoined) {
  auto options = TestCoordinator::quick_options();
  options.join_timeout = milliseconds(300);
  TestCoordinator coordinator(options);
  TestRank alone(coordinator.engine.endpoint(), "job", 0, 2);
  const std::string text = coordinator.await_event(ClusterEventKind::kReplicaLost);
  EXPECT_NE(text.find("rank(s) 1"), std::string::npos) << text;
  EXPECT_EQ(alone.join().exit, RankExit::kLost);
}

TEST(ClusterTest, ForeignFramesDisturbNobody) {
  TestCoordinator coordinator;
  const Ranks ranks = start_job(coordinator, "job", 1);
  zmq::context_t context;
  wire::DealerChannel stranger(context, coordinator.engine.endpoint());
  const std::string text = "GET / HTTP/1.1\r\n\r\n";
  for (int i = 0; i < 50; ++i) {
    stranger.send(std::as_bytes(std::span(text)));
    stranger.send(
        wire::encode(StepResult{.epoch = 1, .step = 1, .rank = 0, .spans = {}, .timing = {}}));
    stranger.send(wire::encode(1, wire::Ready{}));
  }
  coordinator.await_event(ClusterEventKind::kForeignFrame);
  coordinator.engine.submit(hash_request(1, 20, 60));
  EXPECT_EQ(coordinator.sink.await_last(1).tokens, tokens_alone(hash_request(1, 20, 60)));
}

TEST(ClusterTest, OverheadOfAStepIsSmall) {
  TestCoordinator coordinator;
  const Ranks ranks = start_job(coordinator, "job", 1);
  coordinator.engine.submit(hash_request(1, 20, 400));
  coordinator.sink.await_last(1);
  // Published at most 50 ms and one heartbeat later.
  while (coordinator.engine.metrics().engine.steps < 20) std::this_thread::yield();
  const auto metrics = coordinator.engine.metrics();
  ASSERT_EQ(metrics.replicas.size(), 1U);
  for (std::size_t phase = 0; phase < kStepPhaseNames.size(); ++phase) {
    const auto& histogram = metrics.replicas[0].step_seconds[phase];
    const auto count = static_cast<double>(histogram.count());
    EXPECT_GT(count, 0.0);
    RecordProperty(std::string(kStepPhaseNames[phase]) + "_mean_us",
                   static_cast<int>(1e6 * histogram.sum_seconds / count));
    std::printf("%s mean %.1f us\n", std::string(kStepPhaseNames[phase]).c_str(),
                1e6 * histogram.sum_seconds / count);
  }
}

}  // namespace
}  // namespace tessera

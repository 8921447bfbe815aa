#include <gtest/gtest.h>

#include "tests/coordinator/scheduling/cluster_simulator.h"
#include "tests/support/sanitizers.h"
#include "tests/support/span_runner.h"

namespace tessera {
namespace {

constexpr std::uint32_t kClustersPerCase = repetitions(100U, 40U);

/// The request with the machine to itself: no other request, no page pressure, no chunks.
std::vector<TokenId> decode_alone(const ClusterSimulator& cluster, const SequenceRequest& request) {
  SpanRunner runner(cluster.facts(), cluster.model_seed(), cluster.page_size());
  const Strategy& strategy = *request.strategy;
  Sequence sequence = strategy.start(request.prompt, request.sampling, request.limits, 0);
  while (!sequence.finish.has_value()) {
    const Span span = strategy.plan(sequence);
    strategy.apply(sequence, span, runner.run(span));
  }
  return {sequence.tokens.begin() + sequence.prompt_len,
          sequence.tokens.begin() + sequence.output_end};
}

bool starts_with(const std::vector<TokenId>& tokens, const std::vector<TokenId>& prefix) {
  return prefix.size() <= tokens.size() && std::equal(prefix.begin(), prefix.end(), tokens.begin());
}

bool can_ever_fit(const ClusterSimulator& cluster, const SequenceRequest& request) {
  const StrategyTraits& traits = request.strategy->traits();
  const auto prompt_len = static_cast<std::int32_t>(request.prompt.size());
  if (std::max(traits.chunk_quantum, traits.max_buffer_rows) > cluster.max_step_rows())
    return false;
  if (traits.chunk_quantum == 0) {
    const Sequence sequence =
        request.strategy->start(request.prompt, request.sampling, request.limits, 0);
    if (request.strategy->plan(sequence).num_rows() > cluster.max_step_rows()) return false;
  }
  const std::int32_t longest = prompt_len + request.limits.max_tokens;
  const std::int32_t unit =
      std::max(traits.block_size, traits.prefix_rule ? traits.prefix_rule->unit : 1);
  const std::int32_t padded = (longest + unit - 1) / unit * unit;
  return padded <= cluster.num_pages() * cluster.page_size();
}

void expect_right_ending(const ClusterSimulator& cluster, const SimulatedRequest& simulated) {
  SCOPED_TRACE(::testing::Message() << "request " << simulated.request.id);
  const SequenceUpdate& last = *simulated.last;
  if (last.failure.has_value() && last.failure->reason == FailureReason::kInvalid) {
    EXPECT_FALSE(can_ever_fit(cluster, simulated.request)) << last.failure->message;
    return;
  }
  const std::vector<TokenId> alone = decode_alone(cluster, simulated.request);
  if (!last.failure.has_value()) {
    EXPECT_EQ(simulated.tokens, alone);
    EXPECT_EQ(last.usage.output_tokens, static_cast<std::int32_t>(alone.size()));
    return;
  }
  EXPECT_TRUE(starts_with(alone, simulated.tokens));
  if (last.failure->reason == FailureReason::kCancelled) {
    EXPECT_TRUE(simulated.was_cancelled);
  } else {
    EXPECT_EQ(last.failure->reason, FailureReason::kDeadlineExceeded);
    EXPECT_TRUE(simulated.request.deadline.has_value());
  }
}

class EngineSimulationTest : public ::testing::TestWithParam<std::uint32_t> {};

// Whatever else runs, however few pages there are, however often a replica dies: every request that
// is allowed to finish gets the tokens it gets alone, nobody starves, no page is lost.
TEST_P(EngineSimulationTest, EveryRequestEndsAsIfItWereAlone) {
  EngineStats total;
  for (std::uint32_t i = 0; i < kClustersPerCase; ++i) {
    const std::uint32_t seed = GetParam() * kClustersPerCase + i;
    SCOPED_TRACE(::testing::Message() << "cluster of seed " << seed);
    ClusterSimulator cluster(seed);
    ASSERT_TRUE(cluster.run()) << "somebody starves";
    for (const auto& [id, simulated] : cluster.requests()) expect_right_ending(cluster, simulated);
    const EngineStats stats = cluster.stats();
    for (const ReplicaLoad& load : stats.replicas) EXPECT_EQ(load.pages_active, 0);
    EXPECT_EQ(stats.num_running + stats.num_waiting, 0);
    total.preemptions += stats.preemptions;
    total.prefix_hit_tokens += stats.prefix_hit_tokens;
    total.forwards_rebuild += stats.forwards_rebuild;
    if (HasFailure()) return;
  }
  // The clusters do exercise what they are for.
  EXPECT_GT(total.preemptions, 0U);
  EXPECT_GT(total.prefix_hit_tokens, 0U);
  EXPECT_GT(total.forwards_rebuild, 0U);
}

INSTANTIATE_TEST_SUITE_P(Seeds, EngineSimulationTest, ::testing::Range(0U, repetitions(20U, 8U)));

}  // namespace
}  // namespace tessera

#include <gtest/gtest.h>

#include "tests/coordinator/cluster/wire_simulation.h"
#include "tests/support/sanitizers.h"
#include "tests/support/span_runner.h"

namespace tessera {
namespace {

constexpr std::uint32_t kClusters = repetitions(400U, 30U);

std::vector<TokenId> decode_alone(const SequenceRequest& request, std::uint64_t model_seed) {
  SpanRunner runner(WireSimulation::facts(), model_seed, /*page_size=*/8);
  const Strategy& strategy = *request.strategy;
  Sequence sequence = strategy.start(request.prompt, request.sampling, request.limits, 0);
  while (!sequence.finish.has_value()) {
    const Span span = strategy.plan(sequence);
    strategy.apply(sequence, span, runner.run(span));
  }
  return {sequence.tokens.begin() + sequence.prompt_len,
          sequence.tokens.begin() + sequence.output_end};
}

// Whatever ranks do, every request ends with the text it has alone: clients see a pause, no error.
TEST(ClusterSimulationTest, LosingRanksLosesNoRequest) {
  int num_lost = 0;
  for (std::uint32_t seed = 0; seed < kClusters && !HasFailure(); ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    WireSimulation simulation(seed);
    ASSERT_TRUE(simulation.run()) << "somebody starves";
    num_lost += simulation.num_lost();
    for (const auto& [id, outcome] : simulation.requests()) {
      SCOPED_TRACE(::testing::Message() << "request " << id);
      ASSERT_FALSE(outcome.last->failure.has_value()) << outcome.last->failure->message;
      EXPECT_EQ(outcome.tokens, decode_alone(outcome.request, simulation.seed()));
    }
  }
  EXPECT_GT(num_lost, static_cast<int>(kClusters) / 4) << "the clusters do lose replicas";
}

}  // namespace
}  // namespace tessera

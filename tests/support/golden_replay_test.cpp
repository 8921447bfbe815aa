#include "tests/support/golden_replay.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/support/golden_file.h"
#include "tests/support/span_runner.h"

namespace tessera {
namespace {

constexpr float kTolerance = 1e-5F;  // printed with 9 digits; fp64 sums in another order

bool uses_plain_confidence(const Golden& golden) {
  return golden.strategy == "edit" || golden.strategy == "dmax";
}

void expect_equal(const Golden& golden, const Measurement& got, const Measurement& want) {
  EXPECT_EQ(got.position, want.position);
  EXPECT_EQ(got.token, want.token);
  EXPECT_EQ(got.greedy_token, want.greedy_token);
  EXPECT_NEAR(got.entropy, want.entropy, kTolerance * std::max(1.0F, want.entropy));
  if (golden.strategy != "diffusion_gemma") {
    const float confidence = uses_plain_confidence(golden) ? got.plain_confidence : got.confidence;
    EXPECT_NEAR(confidence, want.confidence, kTolerance);
  }
  ASSERT_EQ(got.alternatives.size(), want.alternatives.size());
  for (std::size_t i = 0; i < want.alternatives.size(); ++i) {
    EXPECT_EQ(got.alternatives[i].token, want.alternatives[i].token);
    EXPECT_NEAR(got.alternatives[i].probability, want.alternatives[i].probability, kTolerance);
  }
}

class GoldenReplayTest : public ::testing::TestWithParam<std::string> {};

// Every step of every strategy of the oracle, said in spans, recipes and measures and executed over
// pages, measures what the oracle measured by recomputing everything.
TEST_P(GoldenReplayTest, ExecutedSpansMeasureWhatTheOracleMeasured) {
  for (const Golden& golden : read_goldens(goldens_dir() + "/" + GetParam())) {
    SCOPED_TRACE(golden.id);
    GoldenReplay replay(golden);
    SpanRunner runner(golden.facts, golden.hash_seed, /*page_size=*/3, golden.measure_rules());
    for (std::size_t i = 0; i < golden.trace.size(); ++i) {
      SCOPED_TRACE(::testing::Message() << "step " << i);
      const GoldenStep& step = golden.trace[i];
      const Span span = replay.span(step);
      ASSERT_NO_THROW(check_span(span));
      const std::vector<Measurement> got = runner.run(span);
      const std::vector<Measurement> want = recorded_measurements(step);
      ASSERT_EQ(got.size(), want.size());
      for (std::size_t m = 0; m < want.size(); ++m) expect_equal(golden, got[m], want[m]);
      replay.advance(step);
      if (HasFailure()) return;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Files,
                         GoldenReplayTest,
                         ::testing::Values("state_machine.jsonl", "switches.jsonl"));

}  // namespace
}  // namespace tessera

#include "coordinator/cli/bench/server_figures.h"

#include <gtest/gtest.h>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr const char* kBefore = R"(# HELP tessera_engine_steps_total Steps
# TYPE tessera_engine_steps_total counter
tessera_engine_steps_total 100
tessera_output_tokens_total 50
tessera_request_forwards_total{phase="denoise"} 10
tessera_request_forwards_total{phase="store_only"} 5
tessera_step_seconds_bucket{replica="0",phase="wire",le="0.001"} 0
)";

constexpr const char* kAfter = R"(tessera_engine_steps_total 140
tessera_engine_steps_total_of_another_kind 7
tessera_output_tokens_total 170
tessera_request_forwards_total{phase="denoise"} 40
tessera_request_forwards_total{phase="store_only"} 15
tessera_rows_total{kind="prompt"} 40
tessera_rows_total{kind="masked"} 120
tessera_rows_total{kind="decided"} 40
tessera_buffer_rows_total 320
tessera_prefix_lookup_tokens_total 200
tessera_prefix_hit_tokens_total 50
tessera_preemptions_total 2
tessera_step_seconds_bucket{replica="0",phase="wire",le="0.001"} 10
tessera_step_seconds_bucket{replica="0",phase="wire",le="0.002"} 40
tessera_step_seconds_bucket{replica="0",phase="wire",le="+Inf"} 40
tessera_step_seconds_sum{replica="0",phase="wire"} 0.06
tessera_step_seconds_bucket{replica="1",phase="wire",le="0.001"} 10
tessera_step_seconds_bucket{replica="1",phase="wire",le="0.002"} 40
tessera_step_seconds_bucket{replica="1",phase="wire",le="+Inf"} 40
tessera_step_seconds_sum{replica="1",phase="wire"} 0.06
)";

TEST(ServerFiguresTest, AreTheGrowthBetweenTwoPages) {
  const auto figures = server_figures(parse_metrics(kBefore), parse_metrics(kAfter));
  ASSERT_TRUE(figures.has_value());
  EXPECT_EQ(figures->engine_steps, 40);
  EXPECT_EQ(figures->output_tokens, 120);
  EXPECT_EQ(figures->forwards.at("denoise"), 30);
  EXPECT_EQ(figures->tokens_per_decode_forward, 3);
  EXPECT_EQ(figures->store_bubble, 0.25);
  EXPECT_EQ(figures->buffer_occupancy, 0.5);
  EXPECT_EQ(figures->waste, 0.2);
  EXPECT_EQ(figures->prefix_hit_rate, 0.25);
  EXPECT_EQ(figures->preemptions, 2);
  EXPECT_EQ(figures->queue_ms, std::nullopt);
}

// 80 steps, 20 of them up to 1 ms, the others up to 2 ms: the median is the 40th, a third of the
// way into the second bucket.
TEST(ServerFiguresTest, PercentilesOfPhasesLieInsideTheirBuckets) {
  const auto figures = server_figures(parse_metrics(kBefore), parse_metrics(kAfter));
  const PhaseTime& wire = figures->step_phases.at("wire");
  EXPECT_NEAR(wire.mean_us, 1500, 1e-6);
  EXPECT_NEAR(wire.p50_us, 1333.3, 0.1);
  EXPECT_NEAR(wire.p99_us, 1986.7, 0.1);
}

TEST(ServerFiguresTest, OtherServersHaveNone) {
  EXPECT_FALSE(server_figures({}, parse_metrics("vllm:steps 3\n")).has_value());
  EXPECT_FALSE(server_figures({}, {}).has_value());
}

TEST(ParseMetricsTest, RefusesWhatIsNoSeries) {
  EXPECT_EQ(parse_metrics("a{b=\"x y\"} 1.5\n\n# c\n").at("a{b=\"x y\"}"), 1.5);
  EXPECT_THROW(parse_metrics("<html>"), Error);
  EXPECT_THROW(parse_metrics("a b"), Error);
}

}  // namespace
}  // namespace tessera

#include "coordinator/cli/bench/level_summary.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/error.h"

namespace tessera {
namespace {

using std::chrono::milliseconds;

RequestTrace answered(milliseconds first, milliseconds ended, std::int64_t tokens, bool is_right) {
  RequestTrace trace;
  trace.task = "word.farm";
  trace.commits = {{first, 2}, {ended, static_cast<std::int32_t>(tokens) - 2}};
  trace.ended = ended;
  trace.usage.prompt_tokens = 10;
  trace.usage.completion_tokens = tokens;
  trace.usage.nfe = 5;
  trace.is_right = is_right;
  return trace;
}

RequestTrace failed(const std::string& kind, const std::string& message) {
  RequestTrace trace;
  trace.failure = kind;
  trace.failure_detail = message;
  return trace;
}

LevelResult result_of(std::vector<RequestTrace> requests) {
  return {{4, std::nullopt}, std::chrono::seconds(2), std::move(requests), std::nullopt};
}

TEST(LevelSummaryTest, RatesCountWhatSucceeded) {
  const auto result = result_of({answered(milliseconds(100), milliseconds(300), 10, true),
                                 answered(milliseconds(200), milliseconds(900), 30, false),
                                 failed("HTTP 429 queue_full", "the queue is full")});
  const LevelSummary summary = summarize(result, parse_objective("e2e=500"));
  EXPECT_EQ(summary.num_requests, 3);
  EXPECT_EQ(summary.num_ok, 2);
  EXPECT_EQ(summary.requests_per_second, 1.0);
  EXPECT_EQ(summary.output_tokens_per_second, 20.0);
  EXPECT_EQ(summary.total_tokens_per_second, 30.0);
  EXPECT_EQ(summary.goodput, 0.5);
  EXPECT_EQ(summary.nfe_per_request, 5.0);
  EXPECT_EQ(summary.tokens_per_forward, 4.0) << "sum over sum, not the mean of 2 and 6";
  EXPECT_EQ(summary.distribution("e2e_ms").p50, 600.0);
  EXPECT_EQ(summary.distribution("ttfc_ms").count, 2u) << "failures have no latency";
  ASSERT_TRUE(summary.accuracy.has_value());
  EXPECT_EQ(summary.accuracy->percent(), 50.0);
  EXPECT_EQ(summary.accuracy_by_task.at("word").num_graded, 2);
  EXPECT_EQ(summary.failures.at("HTTP 429 queue_full").count, 1);
}

TEST(LevelSummaryTest, FailuresAreCountedByKindWithTheirFirstMessage) {
  const LevelSummary summary =
      summarize(result_of({failed("timeout", "first"), failed("timeout", "second"),
                           failed("connection", "refused")}),
                parse_objective("e2e=500"));
  EXPECT_EQ(summary.failures.size(), 2u);
  EXPECT_EQ(summary.failures.at("timeout").count, 2);
  EXPECT_EQ(summary.failures.at("timeout").example, "first");
  EXPECT_EQ(summary.goodput, 0.0);
  EXPECT_FALSE(summary.accuracy.has_value());
}

TEST(ServiceObjectiveTest, ARequestIsGoodWhenItKeepsEveryLimit) {
  const RequestFigures figures =
      figures_of(answered(milliseconds(100), milliseconds(300), 12, true));
  EXPECT_TRUE(is_good(figures, parse_objective("ttfc=100,icl_p95=200,tpot=20,e2e=300")));
  EXPECT_FALSE(is_good(figures, parse_objective("ttfc=99,icl_p95=200,tpot=20,e2e=300")));
  EXPECT_FALSE(is_good(figures, parse_objective("icl_p95=199")));
  EXPECT_FALSE(is_good(figures, parse_objective("tpot=19.9")));
  EXPECT_FALSE(is_good(figures, parse_objective("e2e=299")));
  EXPECT_TRUE(is_good(figures, {}));
}

TEST(ServiceObjectiveTest, UnknownNamesAndValuesAreRefused) {
  for (const char* text : {"ttft=3", "ttfc", "ttfc=", "ttfc=x", "ttfc=-1", "ttfc=1ms", ",e2e=1"}) {
    EXPECT_THROW(parse_objective(text), Error) << text;
  }
}

TEST(KneeTest, IsTheFirstLevelNearTheBestThroughput) {
  std::vector<LevelSummary> levels(4);
  levels[0].output_tokens_per_second = 10;
  levels[1].output_tokens_per_second = 89;
  levels[2].output_tokens_per_second = 91;
  levels[3].output_tokens_per_second = 100;
  EXPECT_EQ(knee_of(levels), 2u);
}

}  // namespace
}  // namespace tessera

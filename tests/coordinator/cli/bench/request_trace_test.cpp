#include "coordinator/cli/bench/request_trace.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace tessera {
namespace {

using std::chrono::milliseconds;
using ::testing::ElementsAre;

TEST(RequestFiguresTest, FollowFromTheTimesOfTheCommits) {
  RequestTrace trace;
  trace.commits = {{milliseconds(100), 4}, {milliseconds(160), 8}, {milliseconds(180), 2}};
  trace.ended = milliseconds(200);
  trace.usage.prompt_tokens = 30;
  trace.usage.completion_tokens = 14;
  trace.usage.nfe = 7;
  const RequestFigures figures = figures_of(trace);
  EXPECT_EQ(figures.ttfc_ms, 100);
  EXPECT_EQ(figures.first_commit_tokens, 4);
  EXPECT_THAT(figures.icl_ms, ElementsAre(60, 20));
  EXPECT_THAT(figures.commit_tokens, ElementsAre(4, 8, 2));
  EXPECT_EQ(figures.tpot_ms, 10) << "(200 - 100) ms for the 10 tokens behind the first commit";
  EXPECT_EQ(figures.e2e_ms, 200);
  EXPECT_EQ(figures.tokens_per_second, 70);
  EXPECT_EQ(figures.nfe, 7);
  EXPECT_EQ(figures.tokens_per_forward, 2);
}

TEST(RequestFiguresTest, OneCommitDefinesNoTimePerToken) {
  RequestTrace trace;
  trace.commits = {{milliseconds(100), 14}};
  trace.ended = milliseconds(101);
  trace.usage.completion_tokens = 14;
  const RequestFigures figures = figures_of(trace);
  EXPECT_EQ(figures.ttfc_ms, 100);
  EXPECT_TRUE(figures.icl_ms.empty());
  EXPECT_EQ(figures.tpot_ms, std::nullopt);
  EXPECT_EQ(figures.tokens_per_forward, std::nullopt) << "a server that counts no forwards";
}

TEST(RequestFiguresTest, AnEmptyAnswerHasNoFirstCommit) {
  RequestTrace trace;
  trace.ended = milliseconds(50);
  EXPECT_EQ(figures_of(trace).ttfc_ms, std::nullopt);
  EXPECT_EQ(figures_of(trace).e2e_ms, 50);
}

}  // namespace
}  // namespace tessera

#include "worker/kv/rank_page_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

constexpr std::int32_t kNumPages = 100;

StepPlan with_delta(RequestId request, std::int32_t first, std::vector<PageId> pages) {
  StepPlan plan;
  plan.page_table_deltas.push_back({request, first, std::move(pages)});
  return plan;
}

StepPlan with_release(RequestId request) {
  StepPlan plan;
  plan.released.push_back(request);
  return plan;
}

TEST(RankPageTablesTest, DeltasReplaceTheEndOfATable) {
  RankPageTables tables(kNumPages, /*max_sequences=*/2, /*max_pages=*/4);
  tables.apply(with_delta(7, 0, {3, 1, 2}));
  EXPECT_THAT(tables.table(7), ElementsAre(3, 1, 2));
  tables.apply(with_delta(7, 1, {9}));
  EXPECT_THAT(tables.table(7), ElementsAre(3, 9));
  tables.apply(with_delta(7, 0, {}));
  EXPECT_THAT(tables.table(7), IsEmpty());
}

TEST(RankPageTablesTest, ASpanMakesItsRequestKnown) {
  RankPageTables tables(kNumPages, 1, 4);
  StepPlan plan;
  plan.spans.push_back({5, {}});
  tables.apply(plan);
  EXPECT_THAT(tables.table(5), IsEmpty());
  tables.apply(with_release(5));
  EXPECT_ERROR(tables.table(5), kInternal);
}

TEST(RankPageTablesTest, ReleasedSequencesMakeRoomWithinTheSamePlan) {
  RankPageTables tables(kNumPages, 1, 4);
  tables.apply(with_delta(1, 0, {4}));
  EXPECT_ERROR(tables.apply(with_delta(2, 0, {5})), kInternal);
  StepPlan plan = with_delta(2, 0, {5});
  plan.released.push_back(1);
  tables.apply(plan);
  EXPECT_THAT(tables.table(2), ElementsAre(5));
}

TEST(RankPageTablesTest, WhatCannotBeIsRefused) {
  RankPageTables tables(kNumPages, 4, 3);
  EXPECT_ERROR(tables.apply(with_release(1)), kInternal);
  EXPECT_ERROR(tables.apply(with_delta(1, 1, {0})), kInternal);
  EXPECT_ERROR(tables.apply(with_delta(1, 0, {kNumPages})), kInternal);
  EXPECT_ERROR(tables.apply(with_delta(1, 0, {-1})), kInternal);
  EXPECT_ERROR(tables.apply(with_delta(1, 0, {1, 2, 3, 4})), kInternal);
}

// Against a map of vectors, over many sequences that come and go.
TEST(RankPageTablesTest, RandomChangesGiveWhatAPlainMapGives) {
  std::mt19937 rng(/*seed=*/5);
  const auto draw = [&](std::size_t bound) { return static_cast<std::int32_t>(rng() % bound); };
  constexpr std::size_t kMaxPages = 12;
  constexpr std::size_t kMaxSequences = 8;
  RankPageTables tables(kNumPages, kMaxSequences, kMaxPages);
  std::map<RequestId, std::vector<PageId>> expected;
  for (RequestId next = 1; next < 400;) {
    StepPlan plan;
    if (!expected.empty() && (draw(4) == 0 || expected.size() == kMaxSequences)) {
      plan.released.push_back(expected.begin()->first);
      expected.erase(expected.begin());
    }
    const RequestId request = draw(2) == 0 || expected.empty() ? next++ : expected.rbegin()->first;
    std::vector<PageId>& table = expected[request];
    table.resize(static_cast<std::size_t>(draw(table.size() + 1)));
    PageTableDelta delta{request, static_cast<std::int32_t>(table.size()), {}};
    for (std::int32_t i = draw(kMaxPages + 1 - table.size()); i > 0; --i) {
      delta.pages.push_back(draw(kNumPages));
    }
    table.insert(table.end(), delta.pages.begin(), delta.pages.end());
    plan.page_table_deltas.push_back(delta);
    tables.apply(plan);
    for (const auto& [id, pages] : expected) {
      EXPECT_THAT(tables.table(id), ::testing::ElementsAreArray(pages)) << "request " << id;
    }
  }
}

}  // namespace
}  // namespace tessera

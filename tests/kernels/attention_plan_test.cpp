#include "kernels/cuda/attention/attention_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <vector>

#include "kernels/cuda/attention/block_attention.h"
#include "kernels/visibility.h"
#include "tests/kernels/attention_scene.h"

namespace tessera::kernels::cuda {
namespace {

// Arguments of a batch whose pages no one reads.
struct PlanCase {
  explicit PlanCase(const SceneBatch& batch) : scene(batch.shape, 16, batch.spans, 1) {
    args = scene.args(batch.scale, batch.window);
  }
  AttentionScene scene;
  AttentionArgs args;
};

// One request of 32 rows behind a context, SDAR-8B heads.
AttentionArgs decode(std::int32_t context, std::vector<AttentionSpan>& spans) {
  static const std::vector<PageId> pages(8192);
  AttentionArgs args;
  args.num_q_heads = 32;
  args.pages.num_kv_heads = 8;
  args.pages.head_dim = 128;
  args.pages.page_size = 32;
  for (AttentionSpan& span : spans) {
    span.num_rows = 32;
    span.first = span.cache_len = context;
    span.mask_block = 32;
    span.page_table = pages;
  }
  args.spans = spans;
  return args;
}

AttentionPlan planned(const AttentionArgs& args, const PlanShape& shape) {
  AttentionPlan plan;
  plan_attention(args, shape, plan);
  return plan;
}

std::int64_t longest(const AttentionPlan& plan) {
  std::int64_t keys = 0;
  for (const PlanItem& item : plan.items) {
    keys = std::max<std::int64_t>(keys, item.key_end - item.key_begin);
  }
  return keys;
}

TEST(AttentionPlanTest, EveryQueryMeetsEveryKeyThatItSeesOnce) {
  for (std::uint32_t seed = 0; seed < 40; ++seed) {
    const SceneBatch batch = random_batch(16, 1 + static_cast<int>(seed % 6), 5, seed, 3000);
    const PlanCase plan_case(batch);
    const AttentionPlan plan = planned(plan_case.args, {.tile_queries = seed % 2 == 0 ? 64 : 128,
                                                        .part_keys = seed % 3 == 0 ? 1024 : 0,
                                                        .num_slots = 1 << (seed % 8)});
    const std::int32_t group = batch.shape.group();
    for (const AttentionSpan& span : plan_case.args.spans) {
      for (std::int32_t query = 0; query < span.num_rows * group; ++query) {
        std::vector<PositionRange> ranges;
        for (const PlanItem& item : plan.items) {
          const bool has = item.span.first_row == span.first_row && query >= item.first_query &&
                           query < item.first_query + item.num_queries;
          if (has) ranges.push_back({item.key_begin, item.key_end});
        }
        ASSERT_FALSE(ranges.empty());
        std::sort(ranges.begin(), ranges.end(),
                  [](const auto& a, const auto& b) { return a.begin < b.begin; });
        for (std::size_t i = 1; i < ranges.size(); ++i) {
          ASSERT_EQ(ranges[i].begin, ranges[i - 1].end);
        }
        const Visibility sees = visibility(span, span.first + query / group, batch.window);
        for (Position p = 0; p < std::max(sees.cached.end, sees.fresh.end); ++p) {
          if (!sees.contains(p)) continue;
          ASSERT_GE(p, ranges.front().begin) << "seed " << seed;
          ASSERT_LT(p, ranges.back().end) << "seed " << seed;
        }
      }
    }
  }
}

TEST(AttentionPlanTest, PartsGoWhereTheMergeFindsThem) {
  for (std::uint32_t seed = 0; seed < 20; ++seed) {
    const SceneBatch batch = random_batch(16, 3, 5, seed, 3000);
    const PlanCase plan_case(batch);
    const AttentionPlan plan = planned(plan_case.args, {.tile_queries = 64, .part_keys = 512});
    std::map<std::int32_t, const PlanItem*> items;  // by where their sums go
    for (const PlanItem& item : plan.items) {
      if (item.first_partial < 0) continue;
      ASSERT_TRUE(items.emplace(item.first_partial, &item).second);
    }
    std::int32_t used = 0;
    for (const MergeItem& merge : plan.merges) {
      ASSERT_GE(merge.num_parts, 2);
      Position end = -1;
      for (std::int32_t part = 0; part < merge.num_parts; ++part) {
        const auto found = items.find(merge.first_partial + part * merge.num_queries);
        ASSERT_NE(found, items.end());
        const PlanItem& item = *found->second;
        EXPECT_EQ(item.span.first_row, merge.first_row);
        EXPECT_EQ(item.first_query, merge.first_query);
        EXPECT_EQ(item.num_queries, merge.num_queries);
        EXPECT_TRUE(part == 0 || item.key_begin == end);
        end = item.key_end;
        EXPECT_TRUE(part + 1 == merge.num_parts || end % 512 == 0);
        items.erase(found);
        used += merge.num_queries;
      }
    }
    EXPECT_TRUE(items.empty());
    EXPECT_EQ(used, plan.num_partials);
  }
}

TEST(AttentionPlanTest, ALongContextIsCutIntoEnoughForTheGpu) {
  std::vector<AttentionSpan> one(1);
  const AttentionPlan plan = planned(decode(131072, one), {.tile_queries = 128, .num_slots = 132});
  // Of 132 slots, those that take all of the bandwidth.
  EXPECT_GE(plan.items.size() * 8, 104U);
  EXPECT_LE(longest(plan), 131072 / 13);
}

TEST(AttentionPlanTest, AShortContextIsNotCutToPieces) {
  std::vector<AttentionSpan> one(1);
  const AttentionPlan plan = planned(decode(2048, one), {.tile_queries = 128, .num_slots = 132});
  EXPECT_GT(plan.items.size(), 1U);
  EXPECT_LE(plan.items.size(), 9U);
}

TEST(AttentionPlanTest, ABatchThatFillsTheGpuIsNotCut) {
  std::vector<AttentionSpan> many(64);
  const AttentionPlan plan = planned(decode(2048, many), {.tile_queries = 128, .num_slots = 132});
  EXPECT_EQ(plan.items.size(), 64U);
  EXPECT_TRUE(plan.merges.empty());
  EXPECT_EQ(plan.num_partials, 0);
}

TEST(AttentionPlanTest, TheLongestComeFirst) {
  const SceneBatch batch = random_batch(16, 3, 8, /*seed=*/5, 3000);
  const PlanCase plan_case(batch);
  const AttentionPlan plan = planned(plan_case.args, {.part_keys = 1024});
  EXPECT_TRUE(
      std::is_sorted(plan.items.begin(), plan.items.end(), [](const auto& a, const auto& b) {
        return a.key_end - a.key_begin > b.key_end - b.key_begin;
      }));
}

TEST(AttentionPlanTest, NoPlanExceedsTheLongest) {
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    const SceneBatch batch = random_batch(16, 1 + static_cast<int>(seed % 6), 5, seed, 3000);
    const PlanCase plan_case(batch);
    AttentionLimits limits = {.max_spans = 5,
                              .page_size = 16,
                              .num_q_heads = plan_case.args.num_q_heads,
                              .num_kv_heads = plan_case.args.pages.num_kv_heads};
    for (const AttentionSpan& span : plan_case.args.spans) {
      const std::int64_t pages = std::max(span.first, span.cache_len) / 16 + 1;
      limits.max_rows += span.num_rows;
      limits.max_span_rows = std::max<std::int64_t>(limits.max_span_rows, span.num_rows);
      limits.max_pages += pages;
      limits.max_span_pages = std::max(limits.max_span_pages, pages);
    }
    const PlanShape shape = {.tile_queries = seed % 2 == 0 ? 64 : 128,
                             .part_keys = seed % 3 == 0 ? 256 : 0,
                             .num_slots = 1 << (seed % 8)};
    const PlanLengths longest = longest_plan(limits, shape);
    const AttentionPlan plan = planned(plan_case.args, shape);
    EXPECT_LE(plan.items.size(), longest.items) << "seed " << seed;
    EXPECT_LE(plan.merges.size(), longest.merges) << "seed " << seed;
    EXPECT_LE(plan.page_table.size(), longest.page_table) << "seed " << seed;
    EXPECT_LE(plan.fresh_ends.size(), longest.fresh_ends) << "seed " << seed;
    EXPECT_LE(plan.num_partials, longest.num_partials) << "seed " << seed;
  }
}

TEST(AttentionPlanTest, APlanIsWrittenOverAnother) {
  const SceneBatch large = random_batch(16, 3, 8, /*seed=*/6, 3000);
  const SceneBatch small = random_batch(16, 3, 3, /*seed=*/7, 300);
  const PlanCase large_case(large);
  const PlanCase small_case(small);
  const PlanShape shape = {.part_keys = 512};
  AttentionPlan plan = planned(large_case.args, shape);
  const PlanItem* items = plan.items.data();
  plan_attention(small_case.args, shape, plan);
  const AttentionPlan fresh = planned(small_case.args, shape);
  EXPECT_EQ(plan.items.data(), items);
  ASSERT_EQ(plan.items.size(), fresh.items.size());
  EXPECT_EQ(plan.page_table, fresh.page_table);
  EXPECT_EQ(plan.fresh_ends, fresh.fresh_ends);
  EXPECT_EQ(plan.num_partials, fresh.num_partials);
}

// Room for more partial sums than there are, and plans of one shape after the other: what a
// recorded launch meets.
TEST(AttentionPlanTest, ALaunchReadsWhatThePlanIsFromTheDevice) {
  Context context(/*deterministic=*/false);
  for (std::uint32_t seed = 0; seed < 4; ++seed) {
    const SceneBatch batch = random_batch(64, 4, 4, seed, seed % 2 == 0 ? 1500 : 200);
    AttentionScene alone(batch.shape, 16, batch.spans, 1);
    AttentionScene staged(batch.shape, 16, batch.spans, 1);
    block_attention(context, alone.args(batch.scale, batch.window));
    const AttentionArgs args = staged.args(batch.scale, batch.window);
    const PlanShape shape = attention_plan_shape(context, args.pages, args.num_q_heads, 1000);
    StagedPlan plan = stage_plan(context, planned(args, shape), shape);
    plan.max_partials = 4096;
    launch_attention(context, args, plan);
    for (std::size_t i = 0; i < batch.spans.size(); ++i) {
      for (std::int32_t row = 0; row < batch.spans[i].rows.num_rows; ++row) {
        const auto want = alone.out(i, row);
        const auto got = staged.out(i, row);
        ASSERT_TRUE(std::equal(want.begin(), want.end(), got.begin(), got.end()))
            << "seed " << seed << " span " << i << " row " << row;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels::cuda

#include "worker/runtime/step_inputs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <optional>
#include <utility>

#include "kernels/backend_registry.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr RequestId kRequest = 3;

ModelSpec small_spec() {
  ModelSpec spec;
  spec.family = "sdar";
  spec.vocab_size = 50;
  spec.mask_id = 49;
  return spec;
}

ModelSpec canvas_spec() {
  ModelSpec spec = small_spec();
  spec.family = "diffusion_gemma";
  spec.canvas_length = 3;
  return spec;
}

class StepInputsTest : public ::testing::Test {
 protected:
  // 16 rows, cache of [0, 8) on pages 5 and 2; rows [8, 12) of which [8, 10) are stored on page 7.
  explicit StepInputsTest(ModelSpec spec = small_spec(), std::int32_t max_step_rows = 6)
      : spec_(std::move(spec)),
        config_{.page_size = 4,
                .num_pages = 10,
                .max_step_rows = max_step_rows,
                .max_model_len = 14,
                .max_sequences = 2} {
    backend_->reserve_step_arrays(StepInputs::array_bytes(config_));
    plan_.page_table_deltas.push_back({kRequest, 0, {5, 2, 7}});
    Span span;
    span.first = 8;
    span.tokens = {1, 2, 49, 49};
    span.cache_len = 8;
    span.mask_block = 4;
    span.stores = {{8, 10}};
    span.measures.push_back(measure_of(10));
    span.measures.push_back(measure_of(11));
    plan_.spans.push_back({kRequest, span});
  }

  static Measure measure_of(Position row) {
    Measure measure;
    measure.row = measure.position = row;
    return measure;
  }

  Span& span() { return plan_.spans.front().span; }

  void build() {
    tables_.emplace(config_.num_pages, config_.max_sequences,
                    StepInputs::num_positions(config_) / config_.page_size);
    tables_->apply(plan_);
    inputs_.build(plan_, *tables_);
  }

  void expect_refused(const std::string& why) {
    try {
      build();
      ADD_FAILURE() << "not refused: " << why;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInternal);
      EXPECT_THAT(error.what(), HasSubstr(why));
    }
  }

  ModelSpec spec_;
  RankConfig config_;
  StepPlan plan_;
  std::optional<RankPageTables> tables_;
  std::unique_ptr<kernels::Backend> backend_ = kernels::create_backend("reference", {});
  StepInputs inputs_{spec_, config_, *backend_, /*pads=*/false};
};

TEST_F(StepInputsTest, RowsAreLaidOutAsThePlanSays) {
  build();
  const RowBatch batch = inputs_.batch();
  EXPECT_THAT(batch.ids, ElementsAre(1, 2, 49, 49));
  EXPECT_THAT(batch.positions, ElementsAre(8, 9, 10, 11));
  EXPECT_THAT(batch.slots, ElementsAre(28, 29, -1, -1)) << "page 7 holds positions from 8 on";
  ASSERT_EQ(batch.spans.size(), 1U);
  EXPECT_THAT(batch.spans[0].page_table, ElementsAre(5, 2, 7));
  EXPECT_THAT(inputs_.fused().rows, ElementsAre(2, 3));
  EXPECT_EQ(inputs_.filtered().size(), 0U);
}

// engine_spec 10.5, 39
TEST_F(StepInputsTest, TwoBlocksInOnePageHaveTheSlotsOfThePage) {
  const RankConfig config{
      .page_size = 8, .num_pages = 10, .max_step_rows = 8, .max_model_len = 16, .max_sequences = 1};
  const auto backend = kernels::create_backend("reference", {});
  backend->reserve_step_arrays(StepInputs::array_bytes(config));
  StepInputs inputs(spec_, config, *backend, /*pads=*/false);
  StepPlan plan;
  plan.page_table_deltas.push_back({kRequest, 0, {3}});
  Span blocks;
  blocks.tokens = {1, 2, 3, 4, 5, 6, 7, 8};
  blocks.mask_block = 4;
  blocks.stores = {{0, 8}};
  plan.spans.push_back({kRequest, blocks});
  RankPageTables tables(config.num_pages, config.max_sequences, 2);
  tables.apply(plan);
  inputs.build(plan, tables);
  EXPECT_THAT(inputs.batch().slots, ElementsAre(24, 25, 26, 27, 28, 29, 30, 31));
}

// engine_spec 10.5, 41 and 43: the pages of all rows are there, in both cases.
TEST_F(StepInputsTest, RowsThatThePlanDoesNotStoreAreForwardedWithoutASlot) {
  build();
  EXPECT_THAT(inputs_.batch().slots, ElementsAre(28, 29, -1, -1)) << "an active tail";
  EXPECT_THAT(inputs_.batch().positions, ElementsAre(8, 9, 10, 11));
  span().stores.clear();
  build();
  EXPECT_THAT(inputs_.batch().slots, ElementsAre(-1, -1, -1, -1)) << "the plan says, not the pages";
  EXPECT_THAT(inputs_.batch().positions, ElementsAre(8, 9, 10, 11));
}

TEST_F(StepInputsTest, MeasuresThatNeedLogitsAreKeptApartAndFindTheirPlace) {
  span().measures[0].kind = MeasureKind::kSampled;
  span().measures[0].temperature = 1.0F;
  span().measures[0].top_p = 0.5F;
  Span other = span();
  other.measures[0].num_alternatives = 3;
  other.tokens.resize(2);
  other.measures.resize(1);
  other.measures[0].row = 9;
  other.first = 8;
  plan_.page_table_deltas.push_back({kRequest + 1, 0, {1, 3, 4}});
  plan_.spans.push_back({kRequest + 1, other});
  build();
  EXPECT_EQ(inputs_.num_measures(), 3U);
  EXPECT_THAT(inputs_.fused().rows, ElementsAre(3));
  EXPECT_THAT(inputs_.fused().results, ElementsAre(1));
  EXPECT_THAT(inputs_.filtered().rows, ElementsAre(2, 5));
  EXPECT_THAT(inputs_.filtered().results, ElementsAre(0, 2));
}

TEST_F(StepInputsTest, PaddingBelongsToNobody) {
  const auto backend = kernels::create_backend("reference", {});
  const RankConfig config{.page_size = 4,
                          .num_pages = 10,
                          .max_step_rows = 24,
                          .max_model_len = 14,
                          .max_sequences = 2};
  backend->reserve_step_arrays(StepInputs::array_bytes(config));
  StepInputs inputs(spec_, config, *backend, /*pads=*/true);
  RankPageTables tables(config.num_pages, config.max_sequences, 4);
  tables.apply(plan_);
  inputs.build(plan_, tables);
  const RowBatch batch = inputs.batch();
  ASSERT_EQ(batch.num_rows(), 16);
  EXPECT_EQ(inputs.num_rows(), 4);
  EXPECT_THAT(batch.ids.first(5), ElementsAre(1, 2, 49, 49, 0));
  EXPECT_THAT(batch.slots.first(3), ElementsAre(28, 29, -1));
  for (std::size_t row = 4; row < 16; ++row) {
    EXPECT_EQ(batch.ids[row], 0);
    EXPECT_EQ(batch.positions[row], 0);
    EXPECT_EQ(batch.slots[row], -1);
  }
  ASSERT_EQ(batch.spans.size(), 1U);
  EXPECT_EQ(batch.spans[0].num_rows, 4);
  const MeasuredRows& fused = inputs.fused();
  EXPECT_EQ(fused.size(), 2U);
  ASSERT_EQ(fused.rows.size(), 16U);
  EXPECT_THAT(fused.rows.first(3), ElementsAre(2, 3, 0));
  EXPECT_EQ(fused.measures[2], Measure{});
  EXPECT_EQ(inputs.num_measures(), 2U);

  // Equal shapes lie at equal places, whatever they were padded from.
  const TokenId* ids = batch.ids.data();
  const std::int64_t* rows = fused.rows.data();
  inputs.build_padding({16, 16}, /*num_filtered=*/3);
  EXPECT_EQ(inputs.batch().ids.data(), ids);
  EXPECT_EQ(inputs.fused().rows.data(), rows);
  EXPECT_EQ(inputs.num_rows(), 0);
  EXPECT_EQ(inputs.filtered().size(), 3U);
}

TEST_F(StepInputsTest, TheNextStepForgetsTheLast) {
  build();
  span().tokens = {7};
  span().stores.clear();
  span().measures.clear();
  build();
  EXPECT_THAT(inputs_.batch().ids, ElementsAre(7));
  EXPECT_THAT(inputs_.batch().slots, ElementsAre(-1));
  EXPECT_EQ(inputs_.num_measures(), 0U);
}

TEST_F(StepInputsTest, TheLastBlockMayReachBeyondTheLongestSequence) {
  span().first = 12;
  span().measures.clear();
  span().stores.clear();
  build();  // positions 12 to 15 of 14, rounded up to the page
  span().first = 13;
  expect_refused("rows up to position 17 of 16");
}

TEST_F(StepInputsTest, PlansThatBreakARuleAreRefused) {
  const auto broken = [&](const std::string& why, const std::function<void(Span&)>& change) {
    SCOPED_TRACE(why);
    const StepPlan whole = plan_;
    change(span());
    expect_refused(why);
    plan_ = whole;
  };
  broken("cache_len 9", [](Span& s) { s.cache_len = 9; });
  broken("token 50", [](Span& s) { s.tokens[0] = 50; });
  broken("token -1", [](Span& s) { s.tokens[0] = -1; });
  broken("7 rows", [](Span& s) {
    s.tokens.resize(7, 1);
    s.stores.clear();
    s.first = 0;
    s.cache_len = 0;
    s.measures.clear();
  });
  broken("7 measures", [](Span& s) { s.measures.resize(7, s.measures[0]); });
  broken("reads or stores up to position 14", [](Span& s) {
    s.first = 10;
    s.stores = {{12, 14}};
    s.measures.clear();
  });
  broken("reads or stores up to position 13", [](Span& s) {
    s.mask = MaskKind::kCacheOnly;
    s.cache_len = 13;
  });
  broken("self-conditioning, which sdar models", [](Span& s) { s.self_conditioning = true; });
  broken("a canvas, which sdar models", [](Span& s) { s.measures[0].kind = MeasureKind::kCanvas; });
  broken("9 alternatives", [](Span& s) { s.measures[0].num_alternatives = 9; });
  broken("temperature -1", [](Span& s) { s.measures[0].temperature = -1.0F; });
  broken("token 60", [](Span& s) {
    s.recipes.push_back({8, {}});
    s.recipes[0].recipe.num_ids = 1;
    s.recipes[0].recipe.ids[0] = 60;
  });
}

TEST_F(StepInputsTest, ARequestRunsOncePerStep) {
  span().tokens.resize(2);
  span().measures.clear();
  plan_.spans.push_back(plan_.spans.front());
  expect_refused("request 3 twice");
}

TEST_F(StepInputsTest, ModelsWithoutMaskTokenBlendNothing) {
  span().recipes.push_back({8, {}});
  span().recipes[0].recipe.num_ids = 1;
  build();
  EXPECT_EQ(inputs_.batch().recipes.size(), 1U);
  spec_.mask_id.reset();
  expect_refused("blends with the mask token");
}

// Rows 0 to 3 are encoded, rows 4 to 6 are a canvas, although it comes first in the plan.
class CanvasInputsTest : public StepInputsTest {
 protected:
  CanvasInputsTest() : StepInputsTest(canvas_spec(), /*max_step_rows=*/8) {
    plan_.page_table_deltas.push_back({kCanvasRequest, 0, {1}});
    Span canvas;
    canvas.first = 4;
    canvas.tokens = {7, 8, 9};
    canvas.cache_len = 4;
    canvas.mask = MaskKind::kFull;
    for (Position p = 4; p < 7; ++p) {
      canvas.measures.push_back(measure_of(p));
      canvas.measures.back().kind = MeasureKind::kCanvas;
    }
    plan_.spans.insert(plan_.spans.begin(), {kCanvasRequest, canvas});
  }

  static constexpr RequestId kCanvasRequest = 8;
};

TEST_F(CanvasInputsTest, CanvasesAreTheLastRows) {
  build();
  const RowBatch batch = inputs_.batch();
  EXPECT_THAT(batch.ids, ElementsAre(1, 2, 49, 49, 7, 8, 9));
  EXPECT_EQ(batch.first_canvas_row, 4);
  ASSERT_EQ(inputs_.canvases().size(), 1U);
  EXPECT_EQ(inputs_.canvases()[0].sequence, &plan_.spans[0]);
  EXPECT_EQ(inputs_.canvases()[0].first_row, 4);
  EXPECT_EQ(inputs_.canvases()[0].first_result, 0U);
  EXPECT_THAT(inputs_.fused().results, ElementsAre(3, 4)) << "results keep the order of the plan";
  EXPECT_THAT(inputs_.fused().rows, ElementsAre(2, 3));
  EXPECT_EQ(inputs_.num_measures(), 5U);
}

TEST_F(CanvasInputsTest, WhatIsNoCanvasIsRefused) {
  const auto broken = [&](const std::string& why, const std::function<void(Span&)>& change) {
    SCOPED_TRACE(why);
    const StepPlan whole = plan_;
    change(span());
    expect_refused(why);
    plan_ = whole;
  };
  broken("a canvas of 2 rows", [](Span& s) {
    s.tokens.pop_back();
    s.measures.pop_back();
  });
  broken("masked, stored or made of recipes", [](Span& s) { s.mask = MaskKind::kCausal; });
  broken("masked, stored or made of recipes", [](Span& s) {
    s.recipes.push_back({4, {}});
    s.recipes[0].recipe.num_ids = 1;
  });
  broken("measures 2 of 3 rows of a canvas", [](Span& s) { s.measures.pop_back(); });
  broken("does not measure row 1", [](Span& s) { s.measures[1].kind = MeasureKind::kGreedy; });
  broken("does not measure row 0", [](Span& s) { s.measures[0].row = 5; });
  broken("as a canvas and others not", [](Span& s) { s.measures[0].kind = MeasureKind::kGreedy; });
  broken("self-conditioning of rows that are no canvas", [](Span& s) {
    s.measures.clear();
    s.self_conditioning = true;
  });
}

}  // namespace
}  // namespace tessera

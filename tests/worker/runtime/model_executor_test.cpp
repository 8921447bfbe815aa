#include "worker/runtime/model_executor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "kernels/available_memory.h"
#include "tests/support/error_matchers.h"
#include "tests/worker/support/fixture.h"
#include "tests/worker/support/on_ranks.h"
#include "tests/worker/support/thread_communicator.h"

namespace tessera {
namespace {

using ::testing::HasSubstr;

constexpr const char* kTinySdar = TESSERA_SOURCE_DIR "/deploy/models/tiny-sdar";

ModelExecutorOptions reference_options(const std::string& model_dir) {
  ModelExecutorOptions options;
  options.model_dir = model_dir;
  options.backend = "reference";
  return options;
}

std::vector<std::unique_ptr<RankExecutor>> create_ranks(const ModelExecutorOptions& options,
                                                        std::int32_t tp) {
  std::vector<std::unique_ptr<RankExecutor>> ranks(static_cast<std::size_t>(tp));
  auto communicators = thread_communicators(tp);
  on_ranks(tp, [&](std::int32_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    ranks[index] = create_model_executor(options, std::move(communicators[index]));
  });
  return ranks;
}

std::unique_ptr<RankExecutor> create_rank(const ModelExecutorOptions& options) {
  return std::move(create_ranks(options, 1).front());
}

RankConfig small_config(std::int32_t max_step_rows) {
  return {.page_size = 8,
          .num_pages = 8,
          .max_step_rows = max_step_rows,
          .max_model_len = 64,
          .max_sequences = 4};
}

// 12 rows of which the last 4 are measured.
StepPlan small_plan() {
  StepPlan plan;
  plan.epoch = 2;
  plan.step = 1;
  plan.page_table_deltas.push_back({1, 0, {6, 3}});
  Span span;
  span.tokens = {1, 2, 3, 4, 5, 6, 7, 8, 127, 127, 127, 127};
  span.mask_block = 4;
  span.stores = {{0, 8}};
  for (Position p = 8; p < 12; ++p) {
    Measure measure;
    measure.row = measure.position = p;
    span.measures.push_back(measure);
  }
  plan.spans.push_back({1, span});
  return plan;
}

std::vector<Measurement> measure_on(const ModelExecutorOptions& options,
                                    std::int32_t tp,
                                    const RankConfig& config,
                                    const StepPlan& plan) {
  const auto ranks = create_ranks(options, tp);
  std::vector<StepResult> results(ranks.size());
  on_ranks(tp, [&](std::int32_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    ranks[index]->configure(config);
    results[index] = ranks[index]->run(plan);
    EXPECT_EQ(results[index].rank, rank);
    EXPECT_EQ(results[index].epoch, plan.epoch);
    EXPECT_EQ(results[index].step, plan.step);
    EXPECT_GT(results[index].timing.compute_seconds, 0.0);
    EXPECT_GT(results[index].timing.collective_seconds, 0.0);
    EXPECT_EQ(results[index].spans.size(), rank == 0 ? plan.spans.size() : 0U);
  });
  return results.front().spans.front().measurements;
}

TEST(ModelExecutorTest, LoadingTellsHowFarItIs) {
  ModelExecutorOptions options = reference_options(kTinySdar);
  std::vector<std::int64_t> done;
  std::int64_t total = 0;
  options.on_load_progress = [&](std::int64_t bytes, std::int64_t all) {
    done.push_back(bytes);
    total = all;
  };
  const auto rank = create_rank(options);
  EXPECT_GT(total, 10'000'000);
  EXPECT_LE(done.size(), 101U);
  EXPECT_GE(done.size(), 10U);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(done.back(), total);
}

TEST(ModelExecutorTest, RanksSayWhatTheyAre) {
  const std::string dir = fixtures_dir() / "sdar" / "f32";
  const auto alone = create_rank(reference_options(dir));
  EXPECT_EQ(alone->device_name(), "reference");
  EXPECT_EQ(alone->kv_bytes_per_token(), 2 * 2 * 2 * 16 * 4);
  const auto pair = create_ranks(reference_options(dir), 2);
  EXPECT_EQ(pair[1]->kv_bytes_per_token(), alone->kv_bytes_per_token() / 2);
  const auto four = create_ranks(reference_options(dir), 4);
  EXPECT_EQ(four[3]->kv_bytes_per_token(), alone->kv_bytes_per_token() / 2) << "copies of 2 heads";
  EXPECT_EQ(pair[0]->checkpoint_digest(), alone->checkpoint_digest());
  EXPECT_EQ(pair[1]->checkpoint_digest(), alone->checkpoint_digest());
  const auto other = create_rank(reference_options(fixtures_dir() / "sdar" / "bf16"));
  EXPECT_NE(other->checkpoint_digest(), alone->checkpoint_digest());
}

TEST(ModelExecutorTest, PagesGetWhatWasAskedForOrAShareOfTheMachine) {
  ModelExecutorOptions options = reference_options(fixtures_dir() / "sdar" / "f32");
  options.kv_memory_bytes = 123'456;
  EXPECT_EQ(create_rank(options)->kv_memory_bytes(), 123'456);
  options.kv_memory_bytes.reset();
  const std::int64_t available = kernels::available_memory_bytes();
  const auto pair = create_ranks(options, 2);
  const std::int64_t share = pair[0]->kv_memory_bytes();
  EXPECT_GT(share, available / 10);  // 0.3, other processes may take and give in the meantime
  EXPECT_LT(share, available / 2);
}

TEST(ModelExecutorTest, DummyWeightsNeedNoFilesAndAreTheSameForEveryNumberOfRanks) {
  const std::filesystem::path dir = std::filesystem::path(::testing::TempDir()) / "dummy_weights";
  std::filesystem::create_directories(dir);
  std::filesystem::copy_file(fixtures_dir() / "sdar" / "f32" / "config.json", dir / "config.json",
                             std::filesystem::copy_options::overwrite_existing);
  ModelExecutorOptions options = reference_options(dir);
  EXPECT_ERROR(create_rank(options), kInvalidArgument);
  options.load_format = load_format_from_name("dummy");
  const auto expected = measure_on(options, 1, small_config(16), small_plan());
  ASSERT_EQ(expected.size(), 4U);
  for (const std::int32_t tp : {2, 4}) {
    EXPECT_EQ(measure_on(options, tp, small_config(16), small_plan()), expected);
  }
}

TEST(ModelExecutorTest, RecipesAreAppliedInGroupsThatFitTheWorkspace) {
  const ModelExecutorOptions options = reference_options(fixtures_dir() / "sdar" / "f32");
  StepPlan plan = small_plan();
  const auto plain = measure_on(options, 1, small_config(16), plan);
  for (Position p = 0; p < 12; ++p) {
    RowRecipe row{p, {}};
    row.recipe.kind = p % 2 == 0 ? RecipeKind::kBlend : RecipeKind::kAdd;
    row.recipe.base_id = 9;
    row.recipe.num_ids = 1 + p % EmbeddingRecipe::kMaxIds;
    for (std::size_t i = 0; i < EmbeddingRecipe::kMaxIds; ++i) {
      row.recipe.ids.at(i) = static_cast<TokenId>(10 * i) + p;
      row.recipe.probabilities.at(i) = 0.1F;
    }
    row.recipe.residual = 0.2F;
    plan.spans[0].span.recipes.push_back(row);
  }
  const auto merged = measure_on(options, 1, small_config(12), plan);  // 66 embeddings, 12 rows
  EXPECT_NE(merged, plain);
  EXPECT_EQ(measure_on(options, 1, small_config(200), plan), merged);
  EXPECT_EQ(measure_on(options, 4, small_config(12), plan), merged);
}

TEST(ModelExecutorTest, FilteredAndSampledRowsAreTheSameOnEveryNumberOfRanks) {
  const ModelExecutorOptions options = reference_options(fixtures_dir() / "sdar" / "f32");
  StepPlan plan = small_plan();
  std::vector<Measure>& measures = plan.spans[0].span.measures;
  for (std::size_t i = 0; i < measures.size(); ++i) {
    measures[i].kind = MeasureKind::kSampled;
    measures[i].temperature = 1.5F;
    measures[i].seed = i;
    if (i % 2 == 0) measures[i].top_p = 0.8F;
    if (i == 2) measures[i].top_k = 3;
    measures[i].num_alternatives = i == 3 ? 8 : 0;
  }
  const auto expected = measure_on(options, 1, small_config(16), plan);
  EXPECT_EQ(expected[3].alternatives.size(), 8U);
  for (std::size_t i = 0; i < 4; ++i) EXPECT_EQ(expected[i].position, measures[i].position);
  for (const std::int32_t tp : {2, 4}) {
    EXPECT_EQ(measure_on(options, tp, small_config(16), plan), expected);
  }
}

TEST(ModelExecutorTest, ARankThatCannotLoadLeavesNobodyWaiting) {
  auto communicators = thread_communicators(2);
  std::vector<std::string> messages(2);
  on_ranks(2, [&](std::int32_t rank) {
    const auto index = static_cast<std::size_t>(rank);
    const std::string dir = rank == 0 ? std::string(fixtures_dir() / "sdar" / "f32") : "/nowhere";
    try {
      create_model_executor(reference_options(dir), std::move(communicators[index]));
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
      messages[index] = error.what();
    }
  });
  EXPECT_THAT(messages[0], HasSubstr("rank 1 could not load"));
  EXPECT_THAT(messages[1], HasSubstr("/nowhere"));
}

TEST(ModelExecutorTest, WhatCannotRunIsRefusedByName) {
  const std::string sdar = fixtures_dir() / "sdar" / "f32";
  ModelExecutorOptions options = reference_options(sdar);
  options.backend = "abacus";
  EXPECT_ERROR(create_rank(options), kInvalidArgument);
  EXPECT_ERROR(create_ranks(reference_options(sdar), 8), kInvalidArgument);
  EXPECT_ERROR(load_format_from_name("gguf"), kInvalidArgument);
  EXPECT_EQ(device_collectives_from_name("host"), DeviceCollectives::kHost);
  EXPECT_ERROR(device_collectives_from_name("mpi"), kInvalidArgument);
  const auto rank = create_rank(reference_options(sdar));
  EXPECT_ERROR(rank->run(small_plan()), kInternal);  // before configure()
}

}  // namespace
}  // namespace tessera

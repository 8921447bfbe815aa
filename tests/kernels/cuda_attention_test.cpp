#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <tuple>

#include "kernels/convert.h"
#include "tests/kernels/attention_scene.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/cuda_cases.h"

// What the shared case list of attention does not reach: every head size that has a kernel of its
// own, aligned rows, several spans, contexts that are cut into parts.
namespace tessera::kernels {
namespace {

constexpr double kWeightRounding = 0x1p-8;

class CudaAttentionTest : public ::testing::TestWithParam<std::tuple<bool, int>> {
 protected:
  void SetUp() override {
    const std::string missing = missing_for(backend_cases().front());
    if (!missing.empty()) GTEST_SKIP() << missing;
    backend_ = create_cuda(is_deterministic(), std::get<int>(GetParam()));
  }

  static bool is_deterministic() { return std::get<bool>(GetParam()); }

  AttentionScene run(const SceneBatch& batch,
                     std::span<const SceneSpan> spans,
                     std::int32_t page_size,
                     std::int64_t padding,
                     std::uint32_t seed = 1) {
    AttentionScene scene(batch.shape, page_size, spans, seed, padding);
    backend_->block_attention(scene.args(batch.scale, batch.window));
    EXPECT_TRUE(scene.bait_untouched());
    return scene;
  }

  static void expect_exact(const SceneBatch& batch,
                           const AttentionScene& scene,
                           std::size_t span,
                           std::int32_t row) {
    const std::int32_t dim = batch.shape.head_dim;
    for (std::int32_t head = 0; head < batch.shape.num_q_heads; ++head) {
      const auto want =
          exact_attention(batch.shape, batch.spans[span], row, head, batch.scale, batch.window);
      for (std::int32_t d = 0; d < dim; ++d) {
        const ExactOutput& exact = want[static_cast<std::size_t>(d)];
        ASSERT_NEAR(
            float_of_bfloat16(scene.out(span, row)[static_cast<std::size_t>(head * dim + d)]),
            exact.value, tolerance_of(exact, dim, kWeightRounding))
            << "span " << span << " mask " << static_cast<int>(batch.spans[span].rows.mask)
            << " row " << row << " head " << head << " of " << batch.shape.num_q_heads;
      }
    }
  }

  // Every row, or one in `stride`, and the last.
  static void expect_exact(const SceneBatch& batch,
                           const AttentionScene& scene,
                           std::int32_t stride = 1) {
    for (std::size_t i = 0; i < batch.spans.size(); ++i) {
      const std::int32_t last = batch.spans[i].rows.num_rows - 1;
      for (std::int32_t row = 0; row <= last;
           row = std::max(row + 1, std::min(row + stride, last))) {
        expect_exact(batch, scene, i, row);
        if (HasFatalFailure()) return;
      }
    }
  }

  std::unique_ptr<Backend> backend_;
};

INSTANTIATE_TEST_SUITE_P(Modes,
                         CudaAttentionTest,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::ValuesIn(compute_capabilities())),
                         [](const auto& mode) {
                           return (std::get<bool>(mode.param) ? "deterministic_" : "default_") +
                                  std::to_string(std::get<int>(mode.param));
                         });

TEST_P(CudaAttentionTest, MatchesTheDefinitionForEveryHeadDimAndGroup) {
  const std::int32_t head_dims[] = {2, 16, 64, 64, 80, 96, 128, 128, 128, 192, 256, 256, 512, 512};
  const std::int32_t groups[] = {3, 7, 4, 1, 3, 2, 8, 4, 5, 2, 2, 8, 1, 8};
  for (std::size_t i = 0; i < std::size(head_dims); ++i) {
    SCOPED_TRACE(::testing::Message() << "head_dim " << head_dims[i] << " group " << groups[i]);
    const SceneBatch batch =
        random_batch(head_dims[i], groups[i], 5, static_cast<std::uint32_t>(i), /*longest=*/110);
    const std::int64_t padding = i % 2 == 0 ? 8 : 3;
    const AttentionScene scene = run(batch, batch.spans, 1 << (i % 7), padding);
    expect_exact(batch, scene, /*stride=*/5);
    if (HasFailure()) return;
  }
}

// 40 heads in a group: a row lies in several tiles of queries.
TEST_P(CudaAttentionTest, MatchesTheDefinitionForGroupsLargerThanATile) {
  SceneBatch batch = random_batch(64, 40, 2, /*seed=*/30, /*longest=*/60);
  expect_exact(batch, run(batch, batch.spans, 16, 8), 3);
}

// A few rows of each mask kind behind contexts of up to 3000 positions, with and without windows
// and holes.
TEST_P(CudaAttentionTest, MatchesTheDefinitionForLongContexts) {
  struct Case {
    std::int32_t head_dim, group, window, page_size;
  };
  for (const Case& c : {Case{128, 4, 0, 32}, Case{64, 2, 700, 24}, Case{256, 2, 0, 16}}) {
    SCOPED_TRACE(::testing::Message() << "head_dim " << c.head_dim);
    std::mt19937 rng(/*seed=*/9);
    SceneBatch batch;
    batch.shape = {c.group, 1, c.head_dim};
    batch.scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
    batch.window = c.window;
    for (const std::int32_t length : {3000, 1100, 40}) {
      batch.sequences.push_back(random_sequence(batch.shape, length, rng));
    }
    for (std::size_t i = 0; i < batch.sequences.size(); ++i) {
      const auto length =
          static_cast<std::int32_t>(batch.sequences[i].q.size()) / (c.group * c.head_dim);
      AttentionSpan rows;
      rows.mask = static_cast<MaskKind>(i);
      rows.num_rows = 24;
      rows.first = length - rows.num_rows;
      rows.cache_len = rows.first;
      rows.cache_hole = {rows.first / 3, rows.first / 2};
      batch.spans.push_back({&batch.sequences[i], rows});
    }
    // Sees the whole of the cache, and what is written over it.
    batch.spans.push_back(batch.spans[0]);
    batch.spans.back().rows.mask = MaskKind::kCacheOnly;
    batch.spans.back().rows.first = 512;
    batch.spans.back().rows.cache_len = 2600;
    expect_exact(batch, run(batch, batch.spans, c.page_size, 8), /*stride=*/11);
    if (HasFailure()) return;
  }
}

// Rows of one span that see all of it: tiles that need no mask beside tiles that do.
TEST_P(CudaAttentionTest, MatchesTheDefinitionForPrompts) {
  for (const MaskKind mask : {MaskKind::kCausal, MaskKind::kFull, MaskKind::kPromptFull}) {
    std::mt19937 rng(/*seed=*/10);
    SceneBatch batch;
    batch.shape = {4, 2, 128};
    batch.scale = 0.1F;
    batch.sequences.push_back(random_sequence(batch.shape, 333, rng));
    AttentionSpan rows;
    rows.mask = mask;
    rows.mask_block = 32;
    rows.prompt_len = 200;
    rows.num_rows = 333;
    batch.spans.push_back({batch.sequences.data(), rows});
    expect_exact(batch, run(batch, batch.spans, 32, 8), /*stride=*/13);
    if (HasFailure()) return;
  }
}

// One-hot weights, huge differences of scores, and weights that vanish.
TEST_P(CudaAttentionTest, MatchesTheDefinitionForLargeScores) {
  for (const float scale : {3.0F, -3.0F, 100.0F, 0.0F}) {
    SceneBatch batch = random_batch(64, 4, 3, /*seed=*/40);
    batch.scale = scale;
    expect_exact(batch, run(batch, batch.spans, 16, 3), /*stride=*/7);
    if (HasFailure()) return;
  }
}

TEST_P(CudaAttentionTest, EqualValuesComeOutUnchanged) {
  SceneBatch batch = random_batch(64, 4, 3, /*seed=*/41, /*longest=*/1500);
  batch.window = 0;
  for (SceneSequence& sequence : batch.sequences) {
    std::fill(sequence.v.begin(), sequence.v.end(), bfloat16_of_float(-1.4453125F));
  }
  const AttentionScene scene = run(batch, batch.spans, 16, 3);
  for (std::size_t i = 0; i < 3; ++i) {  // full, causal, block-causal: every row sees itself
    for (const std::uint16_t x : scene.out(i, 0)) ASSERT_EQ(float_of_bfloat16(x), -1.4453125F);
  }
}

TEST_P(CudaAttentionTest, RowsThatSeeNothingAreZeros) {
  SceneBatch batch = random_batch(128, 2, 5, /*seed=*/42, /*longest=*/2500);
  batch.window = 0;
  for (SceneSpan& span : batch.spans) {
    span.rows.mask = MaskKind::kCacheOnly;
    span.rows.cache_hole = {0, span.rows.cache_len};
  }
  const AttentionScene scene = run(batch, batch.spans, 4, 8);
  for (std::size_t i = 0; i < batch.spans.size(); ++i) {
    for (std::int32_t row = 0; row < batch.spans[i].rows.num_rows; ++row) {
      for (const std::uint16_t x : scene.out(i, row)) ASSERT_EQ(x, 0);
    }
  }
}

bool same(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

TEST_P(CudaAttentionTest, CompanyPagesAndChunksDoNotChangeABitInDeterministicMode) {
  if (!is_deterministic()) return;
  std::mt19937 rng(/*seed=*/7);
  int num_cut = 0;
  for (std::uint32_t seed = 200; seed < 212; ++seed) {
    const std::int32_t head_dims[] = {64, 128, 48, 256};
    const SceneBatch batch =
        random_batch(head_dims[seed % 4], draw(rng, 1, 4), 5, seed, seed % 4 == 0 ? 2300 : 260);
    const AttentionScene together = run(batch, batch.spans, 1 << draw(rng, 0, 6), 3, seed);
    for (std::size_t i = 0; i < batch.spans.size(); ++i) {
      std::int32_t row = 0;
      const auto pieces = pieces_of(batch.spans[i], rng);
      num_cut += pieces.size() > 1 ? 1 : 0;
      for (const SceneSpan& piece : pieces) {
        const AttentionScene alone = run(batch, {&piece, 1}, draw(rng, 1, 70), 8, seed + 1);
        for (std::int32_t j = 0; j < piece.rows.num_rows; ++j, ++row) {
          ASSERT_TRUE(same(alone.out(0, j), together.out(i, row)))
              << "seed " << seed << " span " << i << " row " << row << " mask "
              << static_cast<int>(piece.rows.mask) << " of " << pieces.size() << " pieces";
        }
      }
    }
  }
  EXPECT_GT(num_cut, 4);
}

}  // namespace
}  // namespace tessera::kernels

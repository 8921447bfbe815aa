#include "kernels/cpu/attention/cpu_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/buffer.h"
#include "kernels/convert.h"
#include "kernels/op_checks.h"
#include "tests/kernels/attention_scene.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

struct Kernel {
  const char* name;
  decltype(&block_attention_avx2) run;
  double weight_rounding;  // relative, of a softmax weight
};

constexpr Kernel kKernels[] = {{"avx512", &block_attention_avx512, 0x1p-8},
                               {"avx2", &block_attention_avx2, 0.0}};

class CpuAttentionTest : public ::testing::TestWithParam<Kernel> {
 protected:
  void SetUp() override {
    if (std::string(GetParam().name) == "avx512" && !__builtin_cpu_supports("avx512bf16")) {
      GTEST_SKIP() << "this machine has no AVX-512 BF16";
    }
  }

  static AttentionScene scene_of(const SceneBatch& batch,
                                 std::int32_t page_size,
                                 std::uint32_t seed) {
    return {batch.shape, page_size, batch.spans, seed};
  }

  void run(AttentionScene& scene, const SceneBatch& batch, std::int32_t num_parts = 1) const {
    const SceneShape& shape = batch.shape;
    const AttentionArgs args = scene.args(batch.scale, batch.window);
    if (shape.head_dim % 8 == 0) check_attention(args, DType::kBFloat16, DType::kBFloat16);
    // Parts run one after the other in one scratch: each must leave nothing that the next needs.
    const Buffer scratch(
        attention_scratch_bytes(shape.num_q_heads, shape.num_kv_heads, shape.head_dim));
    const std::span bytes(scratch.as<std::byte>(), static_cast<std::size_t>(scratch.num_bytes()));
    for (std::int32_t part = num_parts - 1; part >= 0; --part) {
      std::fill(bytes.begin(), bytes.end(), std::byte{0xFF});
      GetParam().run(args, part, num_parts, bytes);
    }
    EXPECT_TRUE(scene.bait_untouched());
  }

  void expect_exact(const SceneBatch& batch, const AttentionScene& scene) const {
    const std::int32_t dim = batch.shape.head_dim;
    for (std::size_t i = 0; i < batch.spans.size(); ++i) {
      for (std::int32_t row = 0; row < batch.spans[i].rows.num_rows; ++row) {
        for (std::int32_t head = 0; head < batch.shape.num_q_heads; ++head) {
          const auto want =
              exact_attention(batch.shape, batch.spans[i], row, head, batch.scale, batch.window);
          for (std::int32_t d = 0; d < dim; ++d) {
            const std::uint16_t got = scene.out(i, row)[static_cast<std::size_t>(head * dim + d)];
            const ExactOutput& exact = want[static_cast<std::size_t>(d)];
            EXPECT_NEAR(float_of_bfloat16(got), exact.value,
                        tolerance_of(exact, dim, GetParam().weight_rounding));
          }
          ASSERT_FALSE(HasFailure())
              << "span " << i << " mask " << static_cast<int>(batch.spans[i].rows.mask) << " row "
              << row << " head " << head << " of " << batch.shape.num_q_heads;
        }
      }
    }
  }
};

INSTANTIATE_TEST_SUITE_P(InstructionSets,
                         CpuAttentionTest,
                         ::testing::ValuesIn(kKernels),
                         [](const auto& kernel) { return std::string(kernel.param.name); });

bool same(std::span<const std::uint16_t> a, std::span<const std::uint16_t> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

TEST_P(CpuAttentionTest, MatchesTheDefinitionForEveryHeadDimAndGroup) {
  const std::int32_t head_dims[] = {2, 6, 8, 16, 24, 32, 48, 64, 80, 96, 128, 256, 512};
  const std::int32_t groups[] = {1, 3, 2, 7, 4, 12, 3, 8, 5, 16, 6, 2, 1};
  for (std::size_t i = 0; i < std::size(head_dims); ++i) {
    SCOPED_TRACE(::testing::Message() << "head_dim " << head_dims[i] << " group " << groups[i]);
    const SceneBatch batch =
        random_batch(head_dims[i], groups[i], 5, static_cast<std::uint32_t>(i));
    AttentionScene scene = scene_of(batch, /*page_size=*/32, /*seed=*/1);
    run(scene, batch);
    expect_exact(batch, scene);
    if (HasFailure()) return;
  }
}

// One-hot weights, huge differences of scores, and weights that vanish.
TEST_P(CpuAttentionTest, MatchesTheDefinitionForLargeScores) {
  for (const float scale : {3.0F, -3.0F, 100.0F, 0.0F}) {
    SceneBatch batch = random_batch(64, 4, 3, /*seed=*/40);
    batch.scale = scale;
    AttentionScene scene = scene_of(batch, 16, 1);
    run(scene, batch);
    expect_exact(batch, scene);
  }
}

TEST_P(CpuAttentionTest, EqualValuesComeOutUnchanged) {
  SceneBatch batch = random_batch(64, 4, 3, /*seed=*/41);
  batch.window = 0;
  for (SceneSequence& sequence : batch.sequences) {
    std::fill(sequence.v.begin(), sequence.v.end(), bfloat16_of_float(-1.4453125F));
  }
  AttentionScene scene = scene_of(batch, 16, 1);
  run(scene, batch);
  for (std::size_t i = 0; i < 3; ++i) {  // full, causal, block-causal: every row sees itself
    for (const std::uint16_t x : scene.out(i, 0)) {
      ASSERT_EQ(float_of_bfloat16(x), -1.4453125F);
    }
  }
}

TEST_P(CpuAttentionTest, RowsThatSeeNothingAreZeros) {
  SceneBatch batch = random_batch(32, 2, 5, /*seed=*/42);
  batch.window = 0;
  for (SceneSpan& span : batch.spans) {
    span.rows.mask = MaskKind::kCacheOnly;
    span.rows.cache_hole = {0, span.rows.cache_len};
  }
  AttentionScene scene = scene_of(batch, 4, 1);
  run(scene, batch);
  for (std::size_t i = 0; i < batch.spans.size(); ++i) {
    for (std::int32_t row = 0; row < batch.spans[i].rows.num_rows; ++row) {
      for (const std::uint16_t x : scene.out(i, row)) ASSERT_EQ(x, 0);
    }
  }
}

TEST_P(CpuAttentionTest, TheNumberOfPartsDoesNotChangeABit) {
  for (std::uint32_t seed = 100; seed < 112; ++seed) {
    const SceneBatch batch =
        random_batch(seed % 2 == 0 ? 64 : 80, 1 + static_cast<int>(seed % 5), 5, seed);
    AttentionScene whole = scene_of(batch, 8, 1);
    run(whole, batch);
    for (const std::int32_t num_parts : {2, 3, 5, 64}) {
      AttentionScene scene = scene_of(batch, 8, 1);
      run(scene, batch, num_parts);
      for (std::size_t i = 0; i < batch.spans.size(); ++i) {
        for (std::int32_t row = 0; row < batch.spans[i].rows.num_rows; ++row) {
          ASSERT_TRUE(same(scene.out(i, row), whole.out(i, row)))
              << num_parts << " parts, seed " << seed << " span " << i << " row " << row;
        }
      }
    }
  }
}

TEST_P(CpuAttentionTest, CompanyPagesAndChunksDoNotChangeABit) {
  std::mt19937 rng(/*seed=*/7);
  int num_cut = 0;
  for (std::uint32_t seed = 200; seed < 240; ++seed) {
    const SceneBatch batch = random_batch(seed % 3 == 0 ? 128 : 48, draw(rng, 1, 9), 5, seed);
    AttentionScene together = scene_of(batch, 1 << draw(rng, 0, 6), seed);
    run(together, batch);
    for (std::size_t i = 0; i < batch.spans.size(); ++i) {
      std::int32_t row = 0;
      const auto pieces = pieces_of(batch.spans[i], rng);
      num_cut += pieces.size() > 1 ? 1 : 0;
      for (const SceneSpan& piece : pieces) {
        AttentionScene alone(batch.shape, draw(rng, 1, 70), {&piece, 1}, seed + 1);
        run(alone, batch, draw(rng, 1, 3));
        for (std::int32_t j = 0; j < piece.rows.num_rows; ++j, ++row) {
          ASSERT_TRUE(same(alone.out(0, j), together.out(i, row)))
              << "seed " << seed << " span " << i << " row " << row << " mask "
              << static_cast<int>(piece.rows.mask) << " of " << pieces.size() << " pieces";
        }
      }
    }
  }
  EXPECT_GT(num_cut, 20);
}

TEST_P(CpuAttentionTest, ScratchThatIsTooSmallIsAnError) {
  const SceneBatch batch = random_batch(64, 2, 1, /*seed=*/43);
  AttentionScene scene = scene_of(batch, 8, 1);
  const Buffer scratch(1024);
  const std::span bytes(scratch.as<std::byte>(), 1024);
  EXPECT_ERROR(GetParam().run(scene.args(1.0F, 0), 0, 1, bytes), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels

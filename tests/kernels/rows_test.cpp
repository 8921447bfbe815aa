#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <vector>

#include "common/tensor/padding.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

class RowsTest : public BackendTest {};

TESSERA_FOR_EVERY_BACKEND(RowsTest);

void expect_equal(const Matrix& got, const Matrix& want) {
  for (std::int64_t i = 0; i < want.rows; ++i) {
    for (std::int64_t j = 0; j < want.cols; ++j) ASSERT_EQ(got.at(i, j), want.at(i, j)) << i;
  }
}

TEST_P(RowsTest, ShardedEmbeddingsAddUp) {
  for (const std::int64_t hidden : {6, 38}) {
    const TypedMatrix table(activation(), random_matrix(10, hidden, 1));
    const std::vector<TokenId> ids = {9, 0, 5, 4, 9};
    const auto low = backend_->create_packed({5, hidden, 1, 1});
    ConstMatrixView part = table.view();
    part.rows = 5;
    backend_->pack_rows(*low, 0, part);
    part.data = table.view().row(5);
    Matrix sum(5, hidden);
    Matrix high(5, hidden);
    backend_->gather_embeddings(*low, 0, ids, sum.view());
    backend_->gather_embeddings(part, 5, ids, high.view());
    EXPECT_TRUE(sum.padding_untouched() && high.padding_untouched());
    backend_->add(sum.view(), high.view());
    EXPECT_TRUE(sum.padding_untouched());
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t j = 0; j < hidden; ++j) {
        EXPECT_EQ(sum.at(i, j), table.at(ids[static_cast<std::size_t>(i)], j));
      }
    }
  }
}

// A packed LM head in leaves of the vocabulary is a table like any other.
TEST_P(RowsTest, EmbeddingsComeFromAPackedHeadInLeaves) {
  const TypedMatrix table(activation(), random_matrix(640, 10, 11));
  const auto head = backend_->create_packed({640, 10, 1, 8});
  backend_->pack_rows(*head, 0, table.view());
  const std::vector<TokenId> ids = {100, 179, 180, 243, 244, 739, 99, 740};
  Matrix got(8, 10);
  backend_->gather_embeddings(*head, 100, ids, got.view());
  for (std::int64_t i = 0; i < 8; ++i) {
    for (std::int64_t j = 0; j < 10; ++j) {
      EXPECT_EQ(got.at(i, j), i < 6 ? table.at(ids[static_cast<std::size_t>(i)] - 100, j) : 0.0F);
    }
  }
}

// Whole tiles of a back end's layout and what is left over at every edge, in pieces that begin
// anywhere, from every dtype.
TEST_P(RowsTest, WhatIsPackedIsReadBackFromEveryDtype) {
  std::mt19937 rng(/*seed=*/17);
  const auto random = [&](std::int64_t low, std::int64_t high) {
    return std::uniform_int_distribution<std::int64_t>(low, high)(rng);
  };
  for (int round = 0; round < 40; ++round) {
    const std::int64_t rows = random(1, 200);
    const std::int64_t cols = random(1, 300);
    const Matrix values = random_matrix(rows, cols, static_cast<std::uint32_t>(round));
    const DType dtype = round % 2 == 0 ? DType::kBFloat16 : DType::kFloat32;
    const TypedMatrix source(dtype, values);
    const auto packed = backend_->create_packed({rows, round_up(cols, 2), 1, 1});
    for (std::int64_t row = 0; row < rows;) {
      ConstMatrixView piece = source.view();
      piece.data = source.view().row(row);
      piece.rows = std::min(rows - row, random(1, 90));
      backend_->pack_rows(*packed, row, piece);
      row += piece.rows;
    }
    std::vector<TokenId> ids(static_cast<std::size_t>(rows));
    std::iota(ids.begin(), ids.end(), 0);
    Matrix got(rows, round_up(cols, 2));
    backend_->gather_embeddings(*packed, 0, ids, got.view());
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) {
        const float exact = source.at(i, j);
        const float expected =
            activation() == DType::kBFloat16 ? float_of_bfloat16(bfloat16_of_float(exact)) : exact;
        ASSERT_EQ(got.at(i, j), expected) << rows << " x " << cols << " at " << i << ", " << j;
      }
    }
  }
}

TEST_P(RowsTest, EveryDtypeOfATableIsReadExactly) {
  // 1, the smallest subnormal, -0 and -2, as fp16.
  std::vector<std::uint16_t> halves = {0x3C00, 0x0001, 0x8000, 0xC000};
  const ConstMatrixView table{halves.data(), DType::kFloat16, 1, 4, 4};
  const std::vector<TokenId> ids = {0};
  Matrix got(1, 4);
  backend_->gather_embeddings(table, 0, ids, got.view());
  EXPECT_EQ(got.at(0, 0), 1.0F);
  EXPECT_EQ(got.at(0, 1), 0x1p-24F);
  EXPECT_FALSE(std::signbit(got.at(0, 2)));
  EXPECT_EQ(got.at(0, 3), -2.0F);
}

TEST_P(RowsTest, BlendKeepsTheMixedNorm) {
  for (const std::int64_t hidden : {8, 35}) {
    const Matrix gathered = random_matrix(3, hidden, 2);
    EmbeddingRecipe recipe;
    recipe.num_ids = 2;
    recipe.probabilities = {0.5F, 0.2F};
    recipe.residual = 0.3F;
    Matrix out(2, hidden);
    const RecipeRow row{&recipe, 0, 1};
    backend_->apply_recipes({&row, 1}, gathered.view(), out.view());
    const double weights[] = {recipe.probabilities[0], recipe.probabilities[1], recipe.residual};
    double wanted = 0.0;
    double squares = 0.0;
    std::vector<double> mixed;
    for (std::int64_t j = 0; j < hidden; ++j) {
      double sum = 0.0;
      for (std::int64_t i = 0; i < 3; ++i) sum += weights[i] * double{gathered.at(i, j)};
      squares += sum * sum;
      mixed.push_back(sum);
    }
    for (std::int64_t i = 0; i < 3; ++i) {
      double of_row = 0.0;
      for (std::int64_t j = 0; j < hidden; ++j) of_row += std::pow(double{gathered.at(i, j)}, 2);
      wanted += weights[i] * std::sqrt(of_row);
    }
    for (std::int64_t j = 0; j < hidden; ++j) {
      EXPECT_NEAR(out.at(1, j), mixed[static_cast<std::size_t>(j)] * wanted / std::sqrt(squares),
                  1e-6);
    }
    EXPECT_TRUE(std::isnan(out.at(0, 0)));
    EXPECT_TRUE(out.padding_untouched());
  }
}

TEST_P(RowsTest, AddPutsAWeightedMixOnTheBase) {
  const Matrix gathered = random_matrix(3, 21, 12);
  EmbeddingRecipe recipe;
  recipe.kind = RecipeKind::kAdd;
  recipe.num_ids = 2;
  recipe.probabilities = {0.75F, 0.25F};
  recipe.weight = 0.5F;
  Matrix out(1, 21);
  const RecipeRow row{&recipe, 0, 0};
  backend_->apply_recipes({&row, 1}, gathered.view(), out.view());
  for (std::int64_t j = 0; j < 21; ++j) {
    const double mix = 0.75 * double{gathered.at(0, j)} + 0.25 * double{gathered.at(1, j)};
    EXPECT_NEAR(out.at(0, j), gathered.at(2, j) + 0.5 * mix, 1e-6);
  }
}

TEST_P(RowsTest, EveryRecipeOfManyIsApplied) {
  constexpr std::int64_t kRecipes = 300;
  const Matrix gathered = random_matrix(2 * kRecipes, 3, 13);
  std::vector<EmbeddingRecipe> recipes(kRecipes);
  std::vector<RecipeRow> rows;
  for (std::int64_t i = 0; i < kRecipes; ++i) {
    EmbeddingRecipe& recipe = recipes[static_cast<std::size_t>(i)];
    recipe.kind = RecipeKind::kAdd;
    recipe.num_ids = 1;
    recipe.probabilities = {1.0F};
    recipe.weight = static_cast<float>(i);
    rows.push_back({&recipe, 2 * i, kRecipes - 1 - i});
  }
  Matrix out(kRecipes, 3);
  backend_->apply_recipes(rows, gathered.view(), out.view());
  for (std::int64_t i = 0; i < kRecipes; ++i) {
    const double want =
        double{gathered.at(2 * i + 1, 2)} + static_cast<double>(i) * double{gathered.at(2 * i, 2)};
    EXPECT_NEAR(out.at(kRecipes - 1 - i, 2), want, 1e-6 * (1.0 + std::abs(want))) << "recipe " << i;
  }
}

TEST_P(RowsTest, AddRmsNormMatchesTheDefinition) {
  for (const std::int64_t hidden : {1, 10, 75}) {
    Matrix residual = random_matrix(3, hidden, 3);
    const Matrix before = residual;
    const Matrix delta = random_matrix(3, hidden, 4);
    std::vector<float> weight;
    for (std::int64_t j = 1; j <= hidden; ++j) weight.push_back(static_cast<float>(j));
    TypedMatrix out(activation(), 3, hidden);
    backend_->add_rms_norm(residual.view(), delta.view(), weight, 1e-6F, out.view());
    for (std::int64_t i = 0; i < 3; ++i) {
      double squares = 0.0;
      for (std::int64_t j = 0; j < hidden; ++j) {
        EXPECT_EQ(residual.at(i, j), before.at(i, j) + delta.at(i, j));
        squares += std::pow(double{residual.at(i, j)}, 2);
      }
      for (std::int64_t j = 0; j < hidden; ++j) {
        const double want = residual.at(i, j) /
                            std::sqrt(squares / static_cast<double>(hidden) + 1e-6) *
                            double{weight[static_cast<std::size_t>(j)]};
        // Rounded twice: before and after the product with the weight.
        EXPECT_NEAR(out.at(i, j), want,
                    1e-6 + (1e-6 + 2 * rounding(activation())) * std::abs(want));
      }
    }
    EXPECT_TRUE(out.padding_untouched() && residual.padding_untouched());
    TypedMatrix again(activation(), 3, hidden);
    backend_->rms_norm(residual.view(), weight, 1e-6F, again.view());
    expect_equal(again.values(), out.values());
  }
}

// Hugging Face's order: 1.0049 becomes 1.0078 before the weight, 1.5117 becomes 1.5156 after it;
// rounded once it would be 1.5078.
TEST_P(RowsTest, NormsAreRoundedBeforeAndAfterTheWeight) {
  constexpr float kValue = 1.0F + 0x1p-8F + 0x1p-10F;
  Matrix x(1, 8);
  for (std::int64_t j = 0; j < 8; ++j) x.at(0, j) = j == 0 ? kValue : 0.0F;
  const float eps = 1.0F - kValue * kValue / 8;  // so that the root is 1
  TypedMatrix rounded(activation(), 1, 2);
  rounded.set(0, 0, kValue);
  rounded.set(0, 1, 1.5F * rounded.at(0, 0));
  TypedMatrix out(activation(), 1, 8);
  backend_->rms_norm(x.view(), std::vector<float>(8, 1.5F), eps, out.view());
  EXPECT_NEAR(out.at(0, 0), rounded.at(0, 1), 1e-6);
}

TEST_P(RowsTest, ActMulIsSiluTimesUp) {
  Matrix gate_up = random_matrix(2, 54, 5);
  gate_up.at(0, 0) = 200.0F;
  gate_up.at(0, 1) = -200.0F;
  TypedMatrix out(activation(), 2, 27);
  backend_->act_mul(Activation::kSilu, gate_up.view(), out.view());
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 27; ++j) {
      const double gate = gate_up.at(i, j);
      const double want = gate / (1 + std::exp(-gate)) * double{gate_up.at(i, 27 + j)};
      EXPECT_NEAR(out.at(i, j), want, 1e-6 + (1e-6 + rounding(activation())) * std::abs(want));
    }
  }
  EXPECT_TRUE(out.padding_untouched());
}

// Ranks hold other columns of the MLP at other places.
TEST_P(RowsTest, AnActivationDoesNotDependOnItsPlaceInTheRow) {
  const Matrix gate_up = random_matrix(1, 2 * 45, 13);
  TypedMatrix whole(activation(), 1, 45);
  backend_->act_mul(Activation::kSilu, gate_up.view(), whole.view());
  for (const std::int64_t first : {1, 8, 23}) {
    const std::int64_t count = 45 - first;
    Matrix part(1, 2 * count);
    for (std::int64_t j = 0; j < count; ++j) {
      part.at(0, j) = gate_up.at(0, first + j);
      part.at(0, count + j) = gate_up.at(0, 45 + first + j);
    }
    TypedMatrix got(activation(), 1, count);
    backend_->act_mul(Activation::kSilu, part.view(), got.view());
    for (std::int64_t j = 0; j < count; ++j) EXPECT_EQ(got.at(0, j), whole.at(0, first + j));
  }
}

// One rounding at the end, into fp32 as well, in place as well, with weights or without.
TEST_P(RowsTest, RmsNormOnceMatchesTheDefinition) {
  for (const std::int64_t hidden : {1, 10, 75}) {
    for (const bool weighted : {true, false}) {
      Matrix x = random_matrix(3, hidden, 3);
      std::vector<float> weight;
      for (std::int64_t j = 1; weighted && j <= hidden; ++j) {
        weight.push_back(static_cast<float>(j));
      }
      TypedMatrix rounded(activation(), 3, hidden);
      Matrix out(3, hidden);
      backend_->rms_norm_once(x.view(), weight, 1e-6F, rounded.view());
      backend_->rms_norm_once(x.view(), weight, 1e-6F, out.view());
      for (std::int64_t i = 0; i < 3; ++i) {
        double squares = 0.0;
        for (std::int64_t j = 0; j < hidden; ++j) squares += std::pow(double{x.at(i, j)}, 2);
        for (std::int64_t j = 0; j < hidden; ++j) {
          const double w = weighted ? weight[static_cast<std::size_t>(j)] : 1.0;
          const double want =
              w * x.at(i, j) / std::sqrt(squares / static_cast<double>(hidden) + 1e-6);
          EXPECT_NEAR(out.at(i, j), want, 1e-6 * (1.0 + std::abs(want)));
          EXPECT_NEAR(rounded.at(i, j), want,
                      (rounding(activation()) + 1e-6) * (1e-6 + std::abs(want)));
        }
      }
      EXPECT_TRUE(rounded.padding_untouched() && out.padding_untouched());
      backend_->rms_norm_once(x.view(), weight, 1e-6F, x.view());
      expect_equal(x, out);
    }
  }
}

TEST_P(RowsTest, ScaleMultipliesEveryElement) {
  Matrix x = random_matrix(3, 37, 5);
  const Matrix before = x;
  backend_->scale(x.view(), 0.3F);
  for (std::int64_t i = 0; i < 3; ++i) {
    for (std::int64_t j = 0; j < 37; ++j) EXPECT_EQ(x.at(i, j), before.at(i, j) * 0.3F);
  }
  EXPECT_TRUE(x.padding_untouched());
  backend_->scale({nullptr, DType::kFloat32, 0, 37, 37}, 2.0F);  // no rows
}

// Floats of many magnitudes: any other order of the sums gives other bits.
Matrix parts_of(std::int64_t count, std::int64_t cols, std::int64_t padding) {
  Matrix parts = random_matrix(count, cols, 6, padding);
  for (std::int64_t i = 0; i < count; ++i) {
    for (std::int64_t j = 0; j < cols; ++j) {
      parts.at(i, j) = std::ldexp(parts.at(i, j), static_cast<int>((3 * i + 5 * j) % 20));
    }
  }
  return parts;
}

float tree_sum_of(const Matrix& parts, std::int64_t first, std::int64_t count, std::int64_t col) {
  if (count == 1) return parts.at(first, col);
  return tree_sum_of(parts, first, count / 2, col) +
         tree_sum_of(parts, first + count / 2, count / 2, col);
}

TEST_P(RowsTest, PartsAddUpAlongTheTree) {
  constexpr float kGuard = 12345.0F;
  for (const std::int64_t count : {1, 2, 4, 8}) {
    for (const std::int64_t cols : {0, 1, 7, 64, 1024, 4099}) {
      for (const std::size_t shift : {0U, 1U}) {  // of `out`, from an address of 16 bytes
        const Matrix parts = parts_of(count, cols, shift == 0 ? 4 : 3);
        const auto length = static_cast<std::size_t>(cols);
        std::vector<float> memory(length + 8, kGuard);
        const auto begin = 4 - reinterpret_cast<std::uintptr_t>(memory.data()) / 4 % 4 + shift;
        backend_->sum_parts(parts.view(), std::span(memory).subspan(begin, length));
        for (std::size_t j = 0; j < memory.size(); ++j) {
          const auto col = static_cast<std::int64_t>(j) - static_cast<std::int64_t>(begin);
          const bool is_sum = col >= 0 && col < cols;
          ASSERT_EQ(memory[j], is_sum ? tree_sum_of(parts, 0, count, col) : kGuard)
              << count << " parts of " << cols << ", entry " << col;
        }
      }
    }
  }
}

TEST_P(RowsTest, ThreadsDoNotChangeABit) {
  const Matrix x = random_matrix(67, 400, 14);
  const std::vector<float> weight(400, 1.5F);
  std::vector<std::int64_t> rows;
  for (std::int64_t i = 0; i < 67; ++i) rows.push_back(66 - i);
  TypedMatrix norm(activation(), 67, 400);
  backend_->rms_norm(x.view(), weight, 1e-6F, norm.view());
  for (const std::int32_t num_threads : {2, 3, 4}) {
    const auto threaded = GetParam().create(num_threads);
    TypedMatrix got(activation(), 67, 400);
    threaded->rms_norm(x.view(), weight, 1e-6F, got.view());
    expect_equal(got.values(), norm.values());
    Matrix gathered(67, 400);
    threaded->gather_rows(x.view(), rows, gathered.view());
    for (std::int64_t i = 0; i < 67; ++i) EXPECT_EQ(gathered.at(i, 7), x.at(66 - i, 7));
    EXPECT_TRUE(gathered.padding_untouched());
  }
}

TEST_P(RowsTest, RefusesWhatTheContractForbids) {
  Matrix x(2, 6);
  TypedMatrix out(activation(), 2, 6);
  const std::vector<float> weight(5, 1.0F);
  EXPECT_ERROR(backend_->rms_norm(x.view(), weight, 1e-6F, out.view()), kInvalidArgument);
  EXPECT_ERROR(backend_->rms_norm_once(x.view(), weight, 1e-6F, out.view()), kInvalidArgument);
  EXPECT_ERROR(backend_->act_mul(Activation::kSilu, x.view(), out.view()), kInvalidArgument);
  EXPECT_ERROR(backend_->add(x.view(), Matrix(2, 5).view()), kInvalidArgument);
  std::vector<float> sum(6);
  EXPECT_ERROR(backend_->sum_parts(Matrix(3, 6).view(), sum), kInvalidArgument);
  EXPECT_ERROR(backend_->sum_parts(Matrix(2, 5).view(), sum), kInvalidArgument);
  const std::vector<std::int64_t> rows = {0, 2};
  EXPECT_ERROR(backend_->gather_rows(x.view(), rows, Matrix(2, 6).view()), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels

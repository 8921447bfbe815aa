#include <gtest/gtest.h>

#include <cmath>

#include "kernels/backend_registry.h"
#include "kernels/rope_table.h"
#include "tests/kernels/matrix.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

class RowsTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  std::unique_ptr<Backend> backend_ = create_backend(GetParam(), {});
};

INSTANTIATE_TEST_SUITE_P(Backends, RowsTest, ::testing::ValuesIn(backend_names()));

TEST_P(RowsTest, ShardedEmbeddingsAddUp) {
  const Matrix table = random_matrix(10, 6, 1);
  const std::vector<TokenId> ids = {9, 0, 5, 4, 9};
  const auto low = backend_->create_packed({5, 6, 1, 1});
  ConstMatrixView part = table.view();
  part.rows = 5;
  backend_->pack_rows(*low, 0, part);
  part.data = table.view().row(5);
  Matrix sum(5, 6);
  Matrix high(5, 6);
  backend_->gather_embeddings(*low, 0, ids, sum.view());
  backend_->gather_embeddings(part, 5, ids, high.view());
  backend_->add(sum.view(), high.view());
  for (std::int64_t i = 0; i < 5; ++i) {
    for (std::int64_t j = 0; j < 6; ++j) {
      EXPECT_EQ(sum.at(i, j), table.at(ids[static_cast<std::size_t>(i)], j));
    }
  }
}

TEST_P(RowsTest, BlendKeepsTheMixedNorm) {
  const Matrix gathered = random_matrix(3, 8, 2);
  EmbeddingRecipe recipe;
  recipe.num_ids = 2;
  recipe.probabilities = {0.5F, 0.2F};
  recipe.residual = 0.3F;
  Matrix out(2, 8);
  const RecipeRow row{&recipe, 0, 1};
  backend_->apply_recipes({&row, 1}, gathered.view(), out.view());
  const double weights[] = {recipe.probabilities[0], recipe.probabilities[1], recipe.residual};
  double wanted = 0.0;
  double got = 0.0;
  for (std::int64_t i = 0; i < 3; ++i) {
    double squares = 0.0;
    for (std::int64_t j = 0; j < 8; ++j) squares += std::pow(double{gathered.at(i, j)}, 2);
    wanted += weights[i] * std::sqrt(squares);
  }
  for (std::int64_t j = 0; j < 8; ++j) got += std::pow(double{out.at(1, j)}, 2);
  EXPECT_NEAR(std::sqrt(got), wanted, 1e-5);
  EXPECT_TRUE(std::isnan(out.at(0, 0)));
}

TEST_P(RowsTest, AddRmsNormMatchesTheDefinition) {
  Matrix residual = random_matrix(3, 10, 3);
  const Matrix before = residual;
  const Matrix delta = random_matrix(3, 10, 4);
  const std::vector<float> weight = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
  Matrix out(3, 10);
  backend_->add_rms_norm(residual.view(), delta.view(), weight, 1e-6F, out.view());
  for (std::int64_t i = 0; i < 3; ++i) {
    double squares = 0.0;
    for (std::int64_t j = 0; j < 10; ++j) {
      EXPECT_EQ(residual.at(i, j), before.at(i, j) + delta.at(i, j));
      squares += std::pow(double{residual.at(i, j)}, 2);
    }
    for (std::int64_t j = 0; j < 10; ++j) {
      const double want = residual.at(i, j) / std::sqrt(squares / 10 + 1e-6) *
                          double{weight[static_cast<std::size_t>(j)]};
      EXPECT_NEAR(out.at(i, j), want, 1e-5);
    }
  }
}

TEST_P(RowsTest, ActMulIsSiluTimesUp) {
  const Matrix gate_up = random_matrix(2, 6, 5);
  Matrix out(2, 3);
  backend_->act_mul(Activation::kSilu, gate_up.view(), out.view());
  for (std::int64_t i = 0; i < 2; ++i) {
    for (std::int64_t j = 0; j < 3; ++j) {
      const double gate = gate_up.at(i, j);
      EXPECT_NEAR(out.at(i, j), gate / (1 + std::exp(-gate)) * double{gate_up.at(i, 3 + j)}, 1e-6);
    }
  }
}

TEST_P(RowsTest, QkNormRopeStoreTurnsPairsAndFillsSlots) {
  const Matrix qkv = random_matrix(2, 32, 6);  // 2 query heads, 1 KV head of 8
  const std::vector<float> norm = {1, 2, 1, 2, 1, 2, 1, 2};
  const std::vector<double> frequencies = {1.0, 0.1};  // rotary width 4 of 8
  Matrix rope(6, 4);
  fill_rope_table(frequencies, rope.view());
  const std::vector<Position> positions = {5, 3};
  const std::vector<std::int64_t> slots = {3, -1};
  Matrix q(2, 16);
  Matrix k(2, 8);
  Matrix v(2, 8);
  std::vector<float> k_pages(32, -1.0F);
  std::vector<float> v_pages(32, -1.0F);
  QkvArgs args{qkv.view(),
               2,
               {},
               norm,
               norm,
               1e-6F,
               rope.view(),
               positions,
               slots,
               q.view(),
               k.view(),
               v.view(),
               {k_pages.data(), v_pages.data(), 2, 2, 1, 8}};
  backend_->qk_norm_rope_store(args);
  for (std::int64_t row = 0; row < 2; ++row) {
    double squares = 0.0;
    for (int j = 0; j < 8; ++j) squares += std::pow(double{qkv.at(row, 16 + j)}, 2);
    std::vector<double> x;
    for (std::size_t j = 0; j < 8; ++j) {
      x.push_back(qkv.at(row, 16 + static_cast<int>(j)) / std::sqrt(squares / 8 + 1e-6) *
                  double{norm[j]});
    }
    const auto position = positions[static_cast<std::size_t>(row)];
    for (std::size_t j = 0; j < 2; ++j) {
      const double angle = position * frequencies[j];
      const auto at = static_cast<int>(j);
      EXPECT_NEAR(k.at(row, at), x[j] * std::cos(angle) - x[j + 2] * std::sin(angle), 1e-5);
      EXPECT_NEAR(k.at(row, at + 2), x[j + 2] * std::cos(angle) + x[j] * std::sin(angle), 1e-5);
    }
    EXPECT_NEAR(k.at(row, 7), x[7], 1e-5);
    EXPECT_EQ(v.at(row, 2), qkv.at(row, 26));
  }
  for (std::size_t i = 0; i < 32; ++i) {
    const auto col = static_cast<std::int64_t>(i % 8);
    EXPECT_EQ(k_pages[i], i / 8 == 3 ? k.at(0, col) : -1.0F);
    EXPECT_EQ(v_pages[i], i / 8 == 3 ? v.at(0, col) : -1.0F);
  }
}

TEST(BackendRegistryTest, UnknownNamesAreErrors) {
  EXPECT_ERROR(create_backend("abacus", {}), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels

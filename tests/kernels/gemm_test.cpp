#include <gtest/gtest.h>

#include "kernels/backend_registry.h"
#include "kernels/partition.h"
#include "tests/kernels/matrix.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

class GemmTest : public ::testing::TestWithParam<std::string_view> {
 protected:
  // Rows [first, first + count) of a times columns [k0, k0 + k) of w^T, in `leaves` leaves.
  Matrix multiply(Matrix& a, const Matrix& w, std::int64_t k0, std::int64_t k, int leaves) {
    const auto packed = backend_->create_packed({w.rows, k, leaves, 1});
    ConstMatrixView source = w.view();
    source.data = static_cast<const float*>(source.data) + k0;
    source.cols = std::min(k, w.cols - k0);
    backend_->pack_rows(*packed, 0, source);
    MatrixView input = a.view();
    input.data = static_cast<float*>(input.data) + k0;
    input.cols = k;
    Matrix c(a.rows, w.rows);
    backend_->gemm(input, *packed, c.view());
    return c;
  }

  std::unique_ptr<Backend> backend_ = create_backend(GetParam(), {});
};

INSTANTIATE_TEST_SUITE_P(Backends, GemmTest, ::testing::ValuesIn(backend_names()));

TEST_P(GemmTest, MatchesTheDefinition) {
  const struct {
    std::int64_t m, n, k;
    int leaves;
  } cases[] = {{0, 5, 4, 1}, {1, 1, 2, 1}, {3, 65, 34, 1}, {5, 130, 48, 8}, {2, 64, 16, 2}};
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.m << "x" << c.n << "x" << c.k);
    Matrix a = random_matrix(c.m, c.k, 1);
    const Matrix w = random_matrix(c.n, c.k, 2);
    const Matrix got = multiply(a, w, 0, c.k, c.leaves);
    for (std::int64_t i = 0; i < c.m; ++i) {
      for (std::int64_t j = 0; j < c.n; ++j) {
        double want = 0.0;
        for (std::int64_t k = 0; k < c.k; ++k) want += double{a.at(i, k)} * double{w.at(j, k)};
        ASSERT_NEAR(got.at(i, j), want, 1e-5) << i << ", " << j;
      }
      EXPECT_TRUE(std::isnan(got.values[static_cast<std::size_t>(i * got.stride + c.n)]));
    }
  }
}

TEST_P(GemmTest, RanksAddUpToTheSameBits) {
  const std::int64_t k = padded_reduction(70);
  Matrix a = random_matrix(3, k, 3);
  const Matrix w = random_matrix(20, 70, 4);  // the last 10 columns are padding
  const Matrix whole = multiply(a, w, 0, k, kNumLeaves);
  for (const int ranks : {2, 4, 8}) {
    std::vector<Matrix> partials;
    for (int r = 0; r < ranks; ++r) {
      partials.push_back(multiply(a, w, r * k / ranks, k / ranks, kNumLeaves / ranks));
    }
    for_each_branch(ranks, [&](std::int32_t left, std::int32_t right) {
      backend_->add(partials[static_cast<std::size_t>(left)].view(),
                    partials[static_cast<std::size_t>(right)].view());
    });
    for (std::int64_t i = 0; i < 3; ++i) {
      for (std::int64_t j = 0; j < 20; ++j) {
        EXPECT_EQ(partials[0].at(i, j), whole.at(i, j)) << ranks << " ranks";
      }
    }
  }
}

TEST_P(GemmTest, ARowDoesNotDependOnTheOthers) {
  Matrix a = random_matrix(9, 64, 5);
  const Matrix w = random_matrix(70, 64, 6);
  const Matrix together = multiply(a, w, 0, 64, 1);
  for (std::int64_t i = 0; i < a.rows; ++i) {
    Matrix row(1, 64);
    for (std::int64_t k = 0; k < 64; ++k) row.at(0, k) = a.at(i, k);
    const Matrix alone = multiply(row, w, 0, 64, 1);
    for (std::int64_t j = 0; j < 70; ++j) EXPECT_EQ(alone.at(0, j), together.at(i, j));
  }
}

TEST_P(GemmTest, RefusesWhatTheContractForbids) {
  EXPECT_ERROR(backend_->create_packed({4, 3, 1, 1}), kInvalidArgument);
  EXPECT_ERROR(backend_->create_packed({4, 16, 3, 1}), kInvalidArgument);
  const auto packed = backend_->create_packed({4, 16, 1, 1});
  Matrix narrow(2, 8);
  Matrix c(2, 4);
  EXPECT_ERROR(backend_->gemm(narrow.view(), *packed, c.view()), kInvalidArgument);
  EXPECT_ERROR(backend_->pack_rows(*packed, 3, narrow.view()), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels

#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "kernels/partition.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/expect_product.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

// A product of rows of `a` with `w`, both of the activation dtype: what packing rounds weights to.
struct Product {
  std::int64_t first_col = 0;  // of a and w
  std::int64_t num_cols = 0;
  std::int32_t k_leaves = 1;
  std::int32_t row_leaves = 1;
};

Matrix multiply(Backend& backend, TypedMatrix& a, const TypedMatrix& w, const Product& product) {
  const auto packed =
      backend.create_packed({w.rows(), product.num_cols, product.k_leaves, product.row_leaves});
  const auto offset = product.first_col * size_of(backend.activation_dtype());
  ConstMatrixView source = w.view();
  source.data = static_cast<const std::byte*>(source.data) + offset;
  source.cols = std::min(product.num_cols, w.cols() - product.first_col);
  backend.pack_rows(*packed, 0, source);
  MatrixView input = a.view();
  input.data = static_cast<std::byte*>(input.data) + offset;
  input.cols = product.num_cols;
  Matrix c(a.rows(), w.rows());
  backend.gemm(input, *packed, c.view());
  return c;
}

class GemmTest : public BackendTest {
 protected:
  TypedMatrix random(std::int64_t rows, std::int64_t cols, std::uint32_t seed) const {
    return {activation(), random_matrix(rows, cols, seed)};
  }
};

TESSERA_FOR_EVERY_BACKEND(GemmTest);

TEST_P(GemmTest, MatchesTheDefinition) {
  const struct {
    std::int64_t m, n, k;
    std::int32_t k_leaves, row_leaves;
  } cases[] = {
      {0, 5, 4, 1, 1},     {1, 1, 2, 1, 1},      {3, 65, 34, 1, 1},     {5, 130, 48, 8, 1},
      {2, 64, 16, 2, 1},   {1, 200, 1030, 1, 1}, {6, 64, 512, 4, 1},    {13, 63, 254, 1, 1},
      {40, 96, 352, 8, 1}, {7, 0, 16, 1, 1},     {4, 5, 0, 1, 1},       {3, 240, 30, 1, 8},
      {9, 1040, 16, 1, 4}, {20, 70, 2100, 1, 1}, {101, 66, 2240, 2, 1},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.m << "x" << c.n << "x" << c.k << " in " << c.k_leaves
                                      << " and " << c.row_leaves << " leaves");
    TypedMatrix a = random(c.m, c.k, 1);
    const TypedMatrix w = random(c.n, c.k, 2);
    const Matrix got = multiply(*backend_, a, w, {0, c.k, c.k_leaves, c.row_leaves});
    expect_product(a, w, got);
  }
}

TEST_P(GemmTest, RanksAddUpToTheSameBits) {
  for (const std::int64_t length : {70, 1000}) {
    const std::int64_t k = padded_reduction(length);
    Matrix values = random_matrix(9, k, 3);
    TypedMatrix a(activation(), values);
    const TypedMatrix w = random(75, length, 4);  // the last columns are padding
    const Matrix whole = multiply(*backend_, a, w, {0, k, kNumLeaves, 1});
    for (const std::int32_t ranks : {2, 4, 8}) {
      std::vector<Matrix> partials;
      for (std::int32_t r = 0; r < ranks; ++r) {
        partials.push_back(
            multiply(*backend_, a, w, {r * k / ranks, k / ranks, kNumLeaves / ranks, 1}));
      }
      for_each_branch(ranks, [&](std::int32_t left, std::int32_t right) {
        backend_->add(partials[static_cast<std::size_t>(left)].view(),
                      partials[static_cast<std::size_t>(right)].view());
      });
      for (std::int64_t i = 0; i < a.rows(); ++i) {
        for (std::int64_t j = 0; j < w.rows(); ++j) {
          ASSERT_EQ(partials[0].at(i, j), whole.at(i, j)) << ranks << " ranks";
        }
      }
    }
  }
}

// More rows and longer sums than what a kernel holds at a time, in any number.
TEST_P(GemmTest, ARowDoesNotDependOnTheOthers) {
  constexpr std::int64_t kAllRows = 110;
  constexpr std::int64_t kCols = 1344;
  const TypedMatrix w = random(70, kCols, 6);
  std::vector<std::int64_t> counts = {50, 97, 109};
  for (std::int64_t m = 1; m <= 40; ++m) counts.push_back(m);
  for (const std::int32_t k_leaves : {1, 8}) {
    TypedMatrix all = random(kAllRows, kCols, 5);
    const Matrix together = multiply(*backend_, all, w, {0, kCols, k_leaves, 1});
    for (const std::int64_t m : counts) {
      // The last m of the rows.
      TypedMatrix some(activation(), m, kCols);
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t k = 0; k < kCols; ++k) some.set(i, k, all.at(kAllRows - m + i, k));
      }
      const Matrix got = multiply(*backend_, some, w, {0, kCols, k_leaves, 1});
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < w.rows(); ++j) {
          ASSERT_EQ(got.at(i, j), together.at(kAllRows - m + i, j)) << m << " rows, row " << i;
        }
      }
    }
  }
}

TEST_P(GemmTest, ThreadsDoNotChangeABit) {
  const TypedMatrix w = random(333, 96, 8);
  for (const std::int64_t m : {1, 5, 23}) {
    TypedMatrix a = random(m, 96, 7);
    const Matrix one = multiply(*backend_, a, w, {0, 96, 8, 1});
    for (const std::int32_t num_threads : {2, 3, 4}) {
      const auto threaded = GetParam().create(num_threads);
      const Matrix got = multiply(*threaded, a, w, {0, 96, 8, 1});
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < w.rows(); ++j) {
          ASSERT_EQ(got.at(i, j), one.at(i, j)) << num_threads << " threads";
        }
      }
    }
  }
}

// Pieces of any size and dtype, missing columns zero, bait in the padding of the inputs.
TEST_P(GemmTest, WeightsMayBePackedInPieces) {
  const TypedMatrix w = random(140, 33, 9);
  const Matrix floats = w.values();
  const auto packed = backend_->create_packed({140, 36, 1, 1});
  ConstMatrixView piece = w.view();
  piece.rows = 3;
  backend_->pack_rows(*packed, 0, piece);
  piece = floats.view();
  piece.rows = 100;
  piece.data = floats.view().row(3);
  backend_->pack_rows(*packed, 3, piece);
  piece = w.view();
  piece.rows = 37;
  piece.data = w.view().row(103);
  backend_->pack_rows(*packed, 103, piece);
  TypedMatrix a = random(7, 36, 10);
  Matrix got(7, 140);
  backend_->gemm(a.view(), *packed, got.view());
  const Matrix want = multiply(*backend_, a, w, {0, 36, 1, 1});
  for (std::int64_t i = 0; i < 7; ++i) {
    for (std::int64_t j = 0; j < 140; ++j) ASSERT_EQ(got.at(i, j), want.at(i, j));
  }
}

// As tensors lie in a mapped file.
TEST_P(GemmTest, WeightsMayBePackedFromAnyAddress) {
  TypedMatrix a = random(5, 160, 11);
  const Matrix floats = random(150, 160, 12).values();
  for (const DType dtype : {DType::kFloat32, DType::kBFloat16}) {
    const TypedMatrix w(dtype, floats);
    const Matrix want = multiply(*backend_, a, w, {0, 160, 1, 1});
    const auto num_bytes = static_cast<std::size_t>(150 * w.view().row_stride * size_of(dtype));
    std::vector<std::byte> memory(num_bytes + 1);
    std::memcpy(memory.data() + 1, w.view().data, num_bytes);
    ConstMatrixView source = w.view();
    source.data = memory.data() + 1;
    const auto packed = backend_->create_packed({150, 160, 1, 1});
    backend_->pack_rows(*packed, 0, source);
    Matrix got(5, 150);
    backend_->gemm(a.view(), *packed, got.view());
    for (std::int64_t i = 0; i < 5; ++i) {
      for (std::int64_t j = 0; j < 150; ++j) ASSERT_EQ(got.at(i, j), want.at(i, j));
    }
  }
}

TEST_P(GemmTest, RefusesWhatTheContractForbids) {
  EXPECT_ERROR(backend_->create_packed({4, 3, 1, 1}), kInvalidArgument);
  EXPECT_ERROR(backend_->create_packed({4, 16, 3, 1}), kInvalidArgument);
  const auto packed = backend_->create_packed({4, 16, 1, 1});
  TypedMatrix narrow(activation(), 2, 8);
  TypedMatrix fits(activation(), 2, 16);
  Matrix c(2, 4);
  EXPECT_ERROR(backend_->gemm(narrow.view(), *packed, c.view()), kInvalidArgument);
  EXPECT_ERROR(backend_->gemm(fits.view(), *packed, Matrix(2, 5).view()), kInvalidArgument);
  MatrixView integers = c.view();
  integers.dtype = DType::kInt32;
  EXPECT_ERROR(backend_->gemm(fits.view(), *packed, integers), kInvalidArgument);
  EXPECT_ERROR(backend_->pack_rows(*packed, 3, narrow.view()), kInvalidArgument);
}

class ForeignMatrix final : public PackedMatrix {
 public:
  using PackedMatrix::PackedMatrix;
  std::int64_t num_bytes() const override { return 0; }
};

TEST_P(GemmTest, MatricesOfAnotherBackEndAreRefused) {
  const ForeignMatrix packed({4, 16, 1, 1});
  TypedMatrix a(activation(), 2, 16);
  EXPECT_ERROR(backend_->gemm(a.view(), packed, Matrix(2, 4).view()), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels

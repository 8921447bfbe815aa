#include <gtest/gtest.h>

#include <cstring>

#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/cuda_cases.h"
#include "tests/kernels/expect_product.h"

// Products of the default mode, which the case list, in deterministic mode, does not reach.
namespace tessera::kernels {
namespace {

class CudaGemmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const std::string missing = missing_for(backend_cases().front());
    if (!missing.empty()) GTEST_SKIP() << missing;
    backend_ = create_cuda(/*deterministic=*/false, compute_capabilities().back());
  }

  std::unique_ptr<PackedMatrix> packed(const TypedMatrix& w) const {
    auto matrix = backend_->create_packed({w.rows(), w.cols(), 1, 1});
    backend_->pack_rows(*matrix, 0, w.view());
    return matrix;
  }

  static TypedMatrix random(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
    const Matrix values = random_matrix(rows, cols, seed);
    TypedMatrix matrix(DType::kBFloat16, rows, cols, /*padding=*/8);  // rows on 16 bytes
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < cols; ++j) matrix.set(i, j, values.at(i, j));
    }
    return matrix;
  }

  std::unique_ptr<Backend> backend_;
};

// Narrow and wide tiles, one or several of a CTA, more or fewer units than its stages; the last of
// a row, of a tile and of a unit missing.
TEST_F(CudaGemmTest, MatchesTheDefinition) {
  const struct {
    std::int64_t m, n, k;
  } cases[] = {{1, 1, 32},     {7, 100, 64},  {9, 110, 1632}, {31, 128, 3104}, {16, 129, 1056},
               {17, 300, 480}, {32, 640, 96}, {33, 520, 288}, {64, 600, 1056}, {65, 40, 256}};
  for (const auto& c : cases) {
    SCOPED_TRACE(::testing::Message() << c.m << "x" << c.n << "x" << c.k);
    TypedMatrix a = random(c.m, c.k, 1);
    const TypedMatrix w = random(c.n, c.k, 2);
    Matrix got(c.m, c.n);
    backend_->gemm(a.view(), *packed(w), got.view());
    expect_product(a, w, got);
  }
}

TEST_F(CudaGemmTest, EqualInputsGiveEqualBits) {
  TypedMatrix a = random(32, 1024, 3);
  const auto w = packed(random(384, 1024, 4));
  Matrix first(32, 384);
  backend_->gemm(a.view(), *w, first.view());
  for (int run = 0; run < 3; ++run) {
    Matrix again(32, 384);
    backend_->gemm(a.view(), *w, again.view());
    EXPECT_EQ(
        std::memcmp(first.values.data(), again.values.data(), first.values.size() * sizeof(float)),
        0);
  }
}

}  // namespace
}  // namespace tessera::kernels

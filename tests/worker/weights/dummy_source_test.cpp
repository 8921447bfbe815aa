#include "worker/weights/dummy_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <random>

#include "common/tensor/float_formats.h"
#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::Each;

const std::vector<TensorDeclaration> kDummyTensors = {
    {"w", {50, 91}}, {"v", {50, 91}}, {"norm.weight", {12}}, {"q_proj.bias", {400}}};

std::vector<float> read(TensorSource& source,
                        const std::string& name,
                        IndexRange rows,
                        IndexRange cols) {
  std::vector<float> values(static_cast<std::size_t>(rows.size() * cols.size()), -1.0F);
  source.read_matrix(name, rows, cols,
                     {values.data(), DType::kFloat32, rows.size(), cols.size(), cols.size()});
  return values;
}

TEST(DummySourceTest, EverySliceIsAPartOfTheSameMatrix) {
  DummySource source(kDummyTensors, /*seed=*/5);
  const std::vector<float> whole = read(source, "w", {0, 50}, {0, 91});
  std::mt19937 rng(/*seed=*/3);
  for (int round = 0; round < 300; ++round) {
    const auto random = [&](std::uint32_t bound) {
      return static_cast<std::int64_t>(rng() % bound);
    };
    const std::int64_t row = random(50);
    const std::int64_t col = random(91);
    const IndexRange rows{row, row + 1 + random(60)};
    const IndexRange cols{col, col + 1 + random(100)};
    const std::vector<float> slice = read(source, "w", rows, cols);
    std::vector<std::uint16_t> narrow(slice.size());
    source.read_matrix("w", rows, cols,
                       {narrow.data(), DType::kBFloat16, rows.size(), cols.size(), cols.size()});
    for (std::size_t i = 0; i < slice.size(); ++i) {
      const std::int64_t r = row + static_cast<std::int64_t>(i) / cols.size();
      const std::int64_t c = col + static_cast<std::int64_t>(i) % cols.size();
      const bool is_stored = r < 50 && c < 91;
      ASSERT_EQ(slice[i], is_stored ? whole[static_cast<std::size_t>(r * 91 + c)] : 0.0F);
      ASSERT_EQ(float_of_bfloat16(narrow[i]), slice[i]);
    }
  }
}

TEST(DummySourceTest, AVisitShowsWhatIsRead) {
  constexpr std::int64_t kRows = 5000;  // two parts of 4 MB
  DummySource source({{"w", {kRows, 600}}}, /*seed=*/5);
  std::int64_t next = 7;
  source.visit_matrix(
      "w", {7, kRows + 3}, {11, 700}, [&](std::int64_t first_row, const ConstMatrixView& part) {
        ASSERT_EQ(first_row, next - 7);
        ASSERT_EQ(part.dtype, DType::kBFloat16);
        ASSERT_EQ(part.cols, 600 - 11);
        const std::vector<float> want = read(source, "w", {next, next + part.rows}, {11, 600});
        for (std::size_t i = 0; i < want.size(); ++i) {
          const auto row = static_cast<std::int64_t>(i) / part.cols;
          const auto col = static_cast<std::int64_t>(i) % part.cols;
          ASSERT_EQ(load_element(part.row(row), part.dtype, col), want[i]);
        }
        next += part.rows;
      });
  EXPECT_EQ(next, kRows);
}

TEST(DummySourceTest, SeedNameRowAndColumnAllMatter) {
  DummySource source(kDummyTensors, /*seed=*/5);
  DummySource same(kDummyTensors, /*seed=*/5);
  DummySource other(kDummyTensors, /*seed=*/6);
  const std::vector<float> w = read(source, "w", {0, 50}, {0, 91});
  EXPECT_EQ(w, read(same, "w", {0, 50}, {0, 91}));
  EXPECT_NE(w, read(other, "w", {0, 50}, {0, 91}));
  EXPECT_NE(w, read(source, "v", {0, 50}, {0, 91}));
  EXPECT_NE(read(source, "w", {0, 1}, {0, 91}), read(source, "w", {1, 2}, {0, 91}));
  EXPECT_NE(read(source, "w", {0, 50}, {0, 1}), read(source, "w", {0, 50}, {1, 2}));
  EXPECT_EQ(source.digest(), same.digest());
  EXPECT_NE(source.digest(), other.digest());
  EXPECT_NE(source.digest(), DummySource({{"w", {50, 90}}}, 5).digest());
}

// Moments of 10^6 elements, and no correlation between neighbours in a row or a column.
TEST(DummySourceTest, MatricesAreNormal) {
  DummySource source({{"w", {1000, 1000}}}, /*seed=*/0);
  const std::vector<float> w = read(source, "w", {0, 1000}, {0, 1000});
  double sum = 0.0;
  double squares = 0.0;
  double fourth = 0.0;
  double along_row = 0.0;
  double along_column = 0.0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    const double z = w[i] / 0.02;
    sum += z;
    squares += z * z;
    fourth += z * z * z * z;
    along_row += z * w[(i + 1) % w.size()] / 0.02;
    along_column += z * w[(i + 1000) % w.size()] / 0.02;
  }
  const auto n = static_cast<double>(w.size());
  // Five standard errors of each estimate; the fourth moment loses its tail to the 4096 levels.
  EXPECT_NEAR(sum / n, 0.0, 0.005);
  EXPECT_NEAR(squares / n, 1.0, 0.01);
  EXPECT_NEAR(fourth / n, 3.0, 0.08);
  EXPECT_NEAR(along_row / n, 0.0, 0.005);
  EXPECT_NEAR(along_column / n, 0.0, 0.005);
}

TEST(DummySourceTest, NormsAreOnesAndBiasesAreSmall) {
  DummySource source(kDummyTensors, /*seed=*/5);
  EXPECT_THAT(source.read_vector("norm.weight", {0, 12}), Each(1.0F));
  EXPECT_EQ(source.read_vector("norm.weight", {10, 14}),
            (std::vector<float>{1.0F, 1.0F, 0.0F, 0.0F}));
  const std::vector<float> bias = source.read_vector("q_proj.bias", {0, 400});
  const std::vector<float> part = source.read_vector("q_proj.bias", {101, 300});
  EXPECT_TRUE(std::equal(part.begin(), part.end(), bias.begin() + 101));
  const double squares = std::inner_product(bias.begin(), bias.end(), bias.begin(), 0.0);
  EXPECT_NEAR(std::sqrt(squares / 400.0), 0.02, 0.004);
  EXPECT_EQ(source.stored_dtype("q_proj.bias"), DType::kBFloat16);
}

TEST(DummySourceTest, AskingForWhatWasNotDeclaredIsABug) {
  DummySource source(kDummyTensors, /*seed=*/5);
  EXPECT_ERROR(source.read_vector("w", {0, 1}), kInternal);
  EXPECT_ERROR(source.read_vector("u", {0, 1}), kInternal);
  EXPECT_ERROR(read(source, "norm.weight", {0, 1}, {0, 1}), kInternal);
  EXPECT_ERROR(DummySource({{"w", {1}}, {"w", {1}}}, 0), kInternal);
}

}  // namespace
}  // namespace tessera

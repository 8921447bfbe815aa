#include "coordinator/cli/bench/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "common/base/error.h"

namespace tessera {
namespace {

std::vector<double> gaps_of(const std::vector<Duration>& arrivals) {
  std::vector<double> gaps;
  Duration last{};
  for (const Duration arrival : arrivals) {
    gaps.push_back(std::chrono::duration<double>(arrival - last).count());
    last = arrival;
  }
  return gaps;
}

TEST(PoissonArrivalsTest, AscendAndRepeatWithTheirSeed) {
  const auto arrivals = poisson_arrivals(500, 20.0, 7);
  ASSERT_EQ(arrivals.size(), 500u);
  EXPECT_TRUE(std::ranges::is_sorted(arrivals));
  EXPECT_GT(arrivals.front(), Duration(0));
  EXPECT_EQ(arrivals, poisson_arrivals(500, 20.0, 7));
  EXPECT_NE(arrivals, poisson_arrivals(500, 20.0, 8));
}

// Mean and standard deviation of an exponential gap are both 1 / rate, and it exceeds its mean with
// probability 1 / e. With 20000 gaps each estimate is within 4 standard errors, seeds being fixed.
TEST(PoissonArrivalsTest, GapsAreExponential) {
  constexpr double kRate = 5.0;
  constexpr double kCount = 20000;
  const auto gaps = gaps_of(poisson_arrivals(20000, kRate, 3));
  double mean = 0.0, square = 0.0, num_above = 0.0;
  for (const double gap : gaps) {
    mean += gap / kCount;
    square += gap * gap / kCount;
    num_above += gap > 1.0 / kRate ? 1.0 : 0.0;
  }
  EXPECT_NEAR(mean * kRate, 1.0, 4 / std::sqrt(kCount));
  EXPECT_NEAR(std::sqrt(square - mean * mean) * kRate, 1.0, 8 / std::sqrt(kCount));
  EXPECT_NEAR(num_above / kCount, std::exp(-1.0), 4 * 0.5 / std::sqrt(kCount));
}

TEST(PoissonArrivalsTest, ARateOfNothingIsRefused) {
  EXPECT_THROW(poisson_arrivals(1, 0.0, 1), Error);
}

}  // namespace
}  // namespace tessera

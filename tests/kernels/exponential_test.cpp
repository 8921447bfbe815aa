#include "kernels/exponential.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace tessera::kernels {
namespace {

TEST(ExponentialTest, IsThatOfTheLibraryToTheLastPlaces) {
  for (double x = 0.0; x > -700.0; x -= 0.00371) {
    const double want = std::exp(x);
    ASSERT_NEAR(exponential(x), want, 5e-16 * want) << x;
  }
}

TEST(ExponentialTest, HasTheLimitsOfTheSums) {
  EXPECT_EQ(exponential(0.0), 1.0);
  EXPECT_EQ(exponential(-0.0), 1.0);
  EXPECT_EQ(exponential(-701.0), 0.0);
  EXPECT_EQ(exponential(-std::numeric_limits<double>::infinity()), 0.0);
  EXPECT_TRUE(std::isnan(exponential(std::numeric_limits<double>::quiet_NaN())));
}

}  // namespace
}  // namespace tessera::kernels

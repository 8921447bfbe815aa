#include "coordinator/cli/bench/distribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

namespace tessera {
namespace {

TEST(DistributionTest, PercentilesLieBetweenNeighbours) {
  const std::vector<double> values = {10, 20, 30, 40};
  EXPECT_DOUBLE_EQ(percentile(values, 0.0), 10);
  EXPECT_DOUBLE_EQ(percentile(values, 0.5), 25);
  EXPECT_DOUBLE_EQ(percentile(values, 0.9), 37);
  EXPECT_DOUBLE_EQ(percentile(values, 1.0), 40);
  EXPECT_DOUBLE_EQ(percentile({7}, 0.99), 7);
}

TEST(DistributionTest, OrderDoesNotMatterAndPercentilesAscend) {
  std::mt19937_64 generator(5);
  std::vector<double> values;
  for (int i = 0; i < 333; ++i) values.push_back(static_cast<double>(generator() % 1000));
  const Distribution first = distribution_of(values);
  std::shuffle(values.begin(), values.end(), generator);
  const Distribution second = distribution_of(values);
  EXPECT_EQ(first.count, 333u);
  EXPECT_EQ(first.p50, second.p50);
  EXPECT_EQ(first.p99, second.p99);
  EXPECT_LE(first.p50, first.p90);
  EXPECT_LE(first.p90, first.p95);
  EXPECT_LE(first.p95, first.p99);
  EXPECT_LE(first.p99, first.max);
}

TEST(DistributionTest, OfNothingIsZero) {
  EXPECT_EQ(distribution_of({}).count, 0u);
  EXPECT_EQ(distribution_of({}).max, 0.0);
}

}  // namespace
}  // namespace tessera

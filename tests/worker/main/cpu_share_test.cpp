#include "worker/main/cpu_share.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <set>
#include <vector>

namespace tessera {
namespace {

cpu_set_t cpus(std::initializer_list<int> list) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : list) CPU_SET(cpu, &set);
  return set;
}

using Cpus = std::vector<std::int32_t>;

TEST(CpuShareTest, RanksThatMayRunAnywhereSplitTheMachine) {
  const std::vector<cpu_set_t> allowed(2, cpus({0, 1, 2, 3, 8}));
  EXPECT_EQ(share_cpus(allowed, 0, 0).cpus, (Cpus{0, 1}));
  EXPECT_EQ(share_cpus(allowed, 1, 0).cpus, (Cpus{2, 3}));
  EXPECT_EQ(share_cpus(allowed, 1, 0).num_threads, 2);
}

TEST(CpuShareTest, WhatMpirunBoundStaysBound) {
  const std::vector<cpu_set_t> allowed = {cpus({4, 5}), cpus({6, 7})};
  EXPECT_EQ(share_cpus(allowed, 0, 0).cpus, (Cpus{4, 5}));
  EXPECT_EQ(share_cpus(allowed, 1, 0).cpus, (Cpus{6, 7}));
}

TEST(CpuShareTest, MoreRanksThanCpusAreNotPinned) {
  const std::vector<cpu_set_t> allowed(4, cpus({0, 1}));
  for (std::int32_t rank = 0; rank < 4; ++rank) {
    const CpuShare share = share_cpus(allowed, rank, 0);
    EXPECT_EQ(share.num_threads, 1);
    EXPECT_TRUE(share.cpus.empty());
  }
}

TEST(CpuShareTest, ThreadsThatAreAskedForAreKeptAndPinnedIfTheyFit) {
  const std::vector<cpu_set_t> allowed(2, cpus({0, 1, 2, 3}));
  EXPECT_EQ(share_cpus(allowed, 1, 1).cpus, (Cpus{1}));
  const CpuShare many = share_cpus(allowed, 1, 3);
  EXPECT_EQ(many.num_threads, 3);
  EXPECT_TRUE(many.cpus.empty());
}

TEST(CpuShareTest, NoCpuIsGivenTwice) {
  for (int num_ranks = 1; num_ranks <= 8; ++num_ranks) {
    const std::vector<cpu_set_t> allowed(num_ranks, cpus({0, 2, 4, 6, 8, 10, 12, 14, 16}));
    std::multiset<std::int32_t> given;
    for (int rank = 0; rank < num_ranks; ++rank) {
      const CpuShare share = share_cpus(allowed, rank, 0);
      EXPECT_EQ(share.num_threads, static_cast<std::int32_t>(share.cpus.size()));
      given.insert(share.cpus.begin(), share.cpus.end());
    }
    EXPECT_EQ(given.size(), std::set<std::int32_t>(given.begin(), given.end()).size());
    EXPECT_GT(given.size() + num_ranks, 9U) << "less than one CPU per rank is left";
  }
}

}  // namespace
}  // namespace tessera

#include "kernels/cpu/thread_team.h"

#include <gtest/gtest.h>
#include <immintrin.h>

#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

TEST(ThreadTeamTest, EveryPartRunsOncePerJobWithAnyNumberOfThreads) {
  for (const std::int32_t num_threads : {1, 2, 3, 9}) {
    ThreadTeam team(num_threads, {});
    ASSERT_EQ(team.num_threads(), num_threads);
    // Written without a lock: run() orders the parts of a job before what follows it.
    std::vector<int> counts(static_cast<std::size_t>(num_threads), 0);
    for (int job = 1; job <= 500; ++job) {
      team.run([&](std::int32_t part) { ++counts[static_cast<std::size_t>(part)]; });
      ASSERT_EQ(counts, std::vector<int>(static_cast<std::size_t>(num_threads), job));
    }
  }
}

TEST(ThreadTeamTest, PartZeroIsTheCaller) {
  ThreadTeam team(2, {});
  std::vector<std::thread::id> ids(2);
  team.run(
      [&](std::int32_t part) { ids[static_cast<std::size_t>(part)] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], std::this_thread::get_id());
  EXPECT_NE(ids[1], ids[0]);
}

TEST(ThreadTeamTest, PartsRunInTheFloatingPointEnvironmentOfTheCaller) {
  ThreadTeam team(3, {});
  const std::uint32_t before = _mm_getcsr();
  for (const std::uint32_t flush : {_MM_FLUSH_ZERO_ON, _MM_FLUSH_ZERO_OFF}) {
    _MM_SET_FLUSH_ZERO_MODE(flush);
    std::vector<std::uint32_t> modes(3, ~0U);
    team.run([&](std::int32_t part) {
      modes[static_cast<std::size_t>(part)] = _MM_GET_FLUSH_ZERO_MODE();
    });
    EXPECT_EQ(modes, std::vector<std::uint32_t>(3, flush));
  }
  _mm_setcsr(before);
}

TEST(ThreadTeamTest, CpusThatMayNotBeUsedAreErrors) {
  const std::vector<std::int32_t> negative = {-1};
  const std::vector<std::int32_t> beyond = {1 << 20};
  EXPECT_ERROR(ThreadTeam(2, negative), kInvalidArgument);
  EXPECT_ERROR(ThreadTeam(2, beyond), kInvalidArgument);
  EXPECT_ERROR(ThreadTeam(0, {}), kInvalidArgument);
}

TEST(ThreadTeamTest, ThreadsAreWhereTheyWerePinned) {
  // On a thread of its own: the caller stays pinned.
  std::thread([] {
    const std::vector<std::int32_t> cpus = {sched_getcpu()};
    ThreadTeam team(3, cpus);
    team.run([&](std::int32_t) { EXPECT_EQ(sched_getcpu(), cpus[0]); });
  }).join();
}

}  // namespace
}  // namespace tessera::kernels

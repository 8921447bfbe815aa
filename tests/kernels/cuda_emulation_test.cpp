#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <numeric>
#include <vector>

#include "common/base/error.h"
#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/matrix_unit.h"
#include "kernels/cuda/device/phase_barrier.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/cuda/device/warpgroup_unit.h"
#include "tests/support/error_matchers.h"

// The stand-in itself: it computes what a GPU would, and sees what a GPU would not forgive.
namespace tessera::kernels::cuda {
namespace {

using ::testing::HasSubstr;

std::string error_of(const std::function<void()>& run) {
  try {
    run();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

void run_cta(int threads, const std::function<void()>& body) {
  emulation::run_grid(1, 1, static_cast<unsigned>(threads), 4096, body);
}

TEST(CudaEmulationTest, EveryThreadOfEveryCtaRunsOnce) {
  std::vector<int> runs(3 * 2 * 64);
  emulation::run_grid(3, 2, 64, 0, [&] {
    ++runs[(blockIdx.y * gridDim.x + blockIdx.x) * blockDim.x + threadIdx.x];
  });
  EXPECT_THAT(runs, ::testing::Each(1));
}

TEST(CudaEmulationTest, ShufflesAndSumsReachEveryLane) {
  std::array<float, 96> sums{};
  run_cta(96, [&] {
    SharedMemory memory;
    const auto scratch = memory.take<float>(3);
    sums[threadIdx.x] = cta_sum<96>(static_cast<float>(threadIdx.x), scratch);
  });
  EXPECT_THAT(sums, ::testing::Each(95.0F * 96 / 2));
}

TEST(CudaEmulationTest, ARaceIsSeenWhateverTheOrder) {
  const auto neighbours = [](bool with_barrier) {
    run_cta(64, [&] {
      SharedMemory memory;
      const auto values = memory.take<int>(64);
      values[static_cast<int>(threadIdx.x)] = 1;
      if (with_barrier) __syncthreads();
      const int next = values[static_cast<int>(threadIdx.x + 1) % 64];
      (void)next;
    });
  };
  neighbours(true);
  EXPECT_THAT(error_of([&] { neighbours(false); }), HasSubstr("race in shared memory"));
}

TEST(CudaEmulationTest, AWarpBarrierOrdersItsOwnWarpOnly) {
  const auto read_from = [](int distance) {
    run_cta(64, [&] {
      SharedMemory memory;
      const auto values = memory.take<int>(64);
      values[static_cast<int>(threadIdx.x)] = 1;
      __syncwarp();
      const int other = values[static_cast<int>(threadIdx.x) ^ distance];
      (void)other;
    });
  };
  read_from(1);
  EXPECT_THAT(error_of([&] { read_from(32); }), HasSubstr("race in shared memory"));
}

TEST(CudaEmulationTest, DivergentBarriersAreNamed) {
  const auto leaves_early = [] {
    if (threadIdx.x != 7) __syncthreads();
  };
  EXPECT_THAT(error_of([&] { run_cta(64, leaves_early); }), HasSubstr("thread 7 has ended"));
  const auto goes_two_ways = [] {
    if (threadIdx.x < 16) {
      __syncwarp();
    } else {
      __shfl_sync(kAllLanes, 1, 0);
    }
  };
  EXPECT_THAT(error_of([&] { run_cta(32, goes_two_ways); }), HasSubstr("lanes of a warp diverge"));
}

TEST(CudaEmulationTest, AccessesBehindTheEndAreErrors) {
  EXPECT_THAT(error_of([] {
                run_cta(32, [] {
                  SharedMemory memory;
                  memory.take<int>(1024)[1024] = 0;
                });
              }),
              HasSubstr("shared memory has 4096 bytes"));
}

TEST(CudaEmulationTest, AKernelThatStartsEarlyMustAwaitThePreviousOne) {
  const auto run = [](bool all) {
    emulation::run_grid(
        1, 1, 32, 0,
        [&] {
          if (all || threadIdx.x != 5) await_previous_kernel();
        },
        /*starts_early=*/true);
  };
  run(true);
  EXPECT_THAT(error_of([&] { run(false); }), HasSubstr("thread 5 of CTA (0, 0) has not awaited"));
}

TEST(CudaEmulationTest, ACopyIsThereAfterItsWaitAndABarrier) {
  alignas(16) std::array<float, 4> source = {1, 2, 3, 4};
  const auto read = [&](bool wait) {
    float got = 0.0F;
    run_cta(32, [&] {
      SharedMemory memory;
      const auto values = memory.take<float>(4);
      if (threadIdx.x == 0) {
        async_copy_16(values, source.data());
        async_commit();
        if (wait) async_wait<0>();
      }
      __syncthreads();
      if (threadIdx.x == 1) got = values[2];
    });
    return got;
  };
  EXPECT_EQ(read(true), 3.0F);
  EXPECT_FALSE(read(false) == 3.0F);
}

TEST(CudaEmulationTest, FragmentsMultiplyAsMatrices) {
  std::array<float, 16 * 8> product{};
  const auto a = [](int row, int k) { return static_cast<float>(row * 3 % 7 - k % 5); };
  const auto b = [](int k, int col) { return static_cast<float>(k * 2 % 9 - col); };
  run_cta(32, [&] {
    SharedMemory memory;
    const auto rows = memory.take<Bf16>(16 * 24);
    const auto cols = memory.take<Bf16>(16 * 24);  // transposed: [n, k]
    for (int i = lane_index(); i < 16 * 16; i += 32) {
      rows[i / 16 * 24 + i % 16] = to_bf16(a(i / 16, i % 16));
      cols[i / 16 * 24 + i % 16] = to_bf16(i / 16 < 8 ? b(i % 16, i / 16) : 0.0F);
    }
    __syncwarp();
    const int lane_row = lane_index() % 16;
    const int lane_col = lane_index() / 16 * 8;
    std::uint32_t fragment_a[4];
    std::uint32_t tiles[4];
    load_tiles(fragment_a, rows + (lane_row * 24 + lane_col));
    load_tiles(tiles, cols + (lane_row * 24 + lane_col));
    const std::uint32_t fragment_b[2] = {tiles[0], tiles[2]};
    float c[4] = {};
    multiply_16x8x16(c, fragment_a, fragment_b);
    for (int i = 0; i < 4; ++i) {
      const int row = lane_index() / 4 + i / 2 * 8;
      product[static_cast<std::size_t>(row * 8 + lane_index() % 4 * 2 + i % 2)] = c[i];
    }
  });
  for (int row = 0; row < 16; ++row) {
    for (int col = 0; col < 8; ++col) {
      float want = 0.0F;
      for (int k = 0; k < 16; ++k) want += a(row, k) * b(k, col);
      EXPECT_EQ(product[static_cast<std::size_t>(row * 8 + col)], want) << row << " " << col;
    }
  }
}

// 64 rows of a, and b as 64 rows (transposed) and as 16 rows of 128 columns, in panels.
struct WarpgroupOperands {
  static float a(int row, int k) { return static_cast<float>(row * 3 % 7 - k % 5); }
  static float b(int k, int col) { return static_cast<float>(k * 2 % 9 - col % 11); }
  static int place(int row, int col) { return row * 64 + ((col / 8) ^ (row % 8)) * 8 + col % 8; }

  WarpgroupOperands()
      : left(memory.take<Bf16>(64 * 64)),
        by_rows(memory.take<Bf16>(64 * 64)),
        by_cols(memory.take<Bf16>(2 * 16 * 64)) {
    constexpr int kFirst = 32;  // the third sixteen columns of a panel
    for (int i = static_cast<int>(threadIdx.x); i < 64 * 16; i += kWarpgroupSize) {
      left[place(i / 16, kFirst + i % 16)] = to_bf16(a(i / 16, i % 16));
      by_rows[place(i / 16, kFirst + i % 16)] = to_bf16(b(i % 16, i / 16));
    }
    for (int i = static_cast<int>(threadIdx.x); i < 16 * 128; i += kWarpgroupSize) {
      const int col = i % 128;
      by_cols[col / 64 * 16 * 64 + place(i / 128, col % 64)] = to_bf16(b(i / 128, col));
    }
    left = left + kFirst;
    by_rows = by_rows + kFirst;
  }

  SharedMemory memory;
  SharedSpan<Bf16> left;
  SharedSpan<Bf16> by_rows;
  SharedSpan<Bf16> by_cols;
};

// Calls check(row, col, sum) for this thread's sums.
template <int kFragments, typename Check>
void for_each_sum(const float (&c)[kFragments][4], const Check& check) {
  for (int i = 0; i < kFragments * 4; ++i) {
    check(warp_index() * 16 + lane_index() / 4 + i % 4 / 2 * 8,
          i / 4 * 8 + lane_index() % 4 * 2 + i % 2, c[i / 4][i % 4]);
  }
}

float exact_product(int row, int col) {
  float sum = 0.0F;
  for (int k = 0; k < 16; ++k) sum += WarpgroupOperands::a(row, k) * WarpgroupOperands::b(k, col);
  return sum;
}

TEST(CudaEmulationTest, WarpgroupsMultiplyPanels) {
  emulation::run_grid(1, 1, kWarpgroupSize, 20480, [] {
    const WarpgroupOperands operands;
    publish_to_products();
    __syncthreads();
    float by_rows[8][4];
    float by_cols[16][4];
    std::uint32_t a[1][4];
    for (int i = 0; i < 4; ++i) {
      const int row = warp_index() * 16 + lane_index() / 4 + i % 2 * 8;
      const int k = lane_index() % 4 * 2 + i / 2 * 8;
      a[0][i] = pack_bf16(WarpgroupOperands::a(row, k), WarpgroupOperands::a(row, k + 1));
    }
    for (auto& fragment : by_cols) std::fill_n(fragment, 4, 1.0F);
    begin_products(by_rows, by_cols, a);
    multiply_rows<64>(by_rows, operands.left, operands.by_rows, /*adds=*/false);
    multiply_rows<64>(by_rows, operands.left, operands.by_rows, /*adds=*/true);
    multiply_cols<128>(by_cols, a[0], operands.by_cols, /*panel_rows=*/16);
    commit_products();
    EXPECT_TRUE(std::isnan(by_rows[0][0]) && std::isnan(by_cols[0][0]));  // not yet
    finish_products(by_rows, by_cols);
    for_each_sum(by_rows, [](int row, int col, float sum) {
      EXPECT_EQ(sum, 2 * exact_product(row, col)) << row << " " << col;
    });
    for_each_sum(by_cols, [](int row, int col, float sum) {
      EXPECT_EQ(sum, 1 + exact_product(row, col)) << row << " " << col;
    });
  });
}

TEST(CudaEmulationTest, AProductReadsItsOperandsUntilItIsWaitedFor) {
  const auto overwrite = [](bool waits) {
    emulation::run_grid(1, 1, kWarpgroupSize, 20480, [&] {
      WarpgroupOperands operands;
      __syncthreads();
      float sums[8][4];
      multiply_rows<64>(sums, operands.left, operands.by_rows, /*adds=*/false);
      if (waits) finish_products(sums);
      __syncthreads();
      operands.by_rows[static_cast<int>(threadIdx.x) * 16] = Bf16{0};
      finish_products(sums);
    });
  };
  overwrite(true);
  EXPECT_THAT(error_of([&] { overwrite(false); }), HasSubstr("race in shared memory"));
}

TEST(CudaEmulationTest, ProductsOfAGroupRunUntilItIsWaitedFor) {
  emulation::run_grid(1, 1, kWarpgroupSize, 20480, [] {
    const WarpgroupOperands operands;
    publish_to_products();
    __syncthreads();
    float first[8][4];
    float second[8][4];
    begin_products(first, second);
    multiply_rows<64>(first, operands.left, operands.by_rows, /*adds=*/false);
    commit_products();
    multiply_rows<64>(second, operands.left, operands.by_rows, /*adds=*/false);
    commit_products();
    finish_products<1>(first);
    EXPECT_FALSE(std::isnan(first[0][0]));
    EXPECT_TRUE(std::isnan(second[0][0]));
    finish_products(second);
    for_each_sum(second,
                 [](int row, int col, float sum) { EXPECT_EQ(sum, exact_product(row, col)); });
  });
}

// One warp hands numbers to another through a ring of two places, `rounds` of them.
void hand_over(int rounds, bool waits_for_full, bool waits_for_free) {
  run_cta(64, [=] {
    SharedMemory memory;
    const auto places = memory.take<int>(2);
    const auto barriers = memory.take<std::uint64_t>(4);
    const auto is_full = [&](int stage) { return PhaseBarrier(barriers + stage); };
    const auto is_free = [&](int stage) { return PhaseBarrier(barriers + (2 + stage)); };
    if (threadIdx.x == 0) {
      for (int stage = 0; stage < 2; ++stage) {
        is_full(stage).init(1);
        is_free(stage).init(kWarpSize);
      }
    }
    __syncthreads();
    RingPlace<2> ring;
    for (int round = 0; round < rounds; ++round, ring.advance()) {
      if (warp_index() == 0) {
        if (waits_for_free) is_free(ring.stage).wait(ring.parity ^ 1U);
        if (lane_index() == 5) places[ring.stage] = round;
        is_full(ring.stage).arrive_as_warp();
      } else {
        if (waits_for_full) is_full(ring.stage).wait(ring.parity);
        const int got = places[ring.stage];
        EXPECT_TRUE(!waits_for_full || got == round);
        is_free(ring.stage).arrive_as_threads();
      }
    }
  });
}

TEST(CudaEmulationTest, PhasesOrderWhatWarpsHandOver) {
  hand_over(9, true, true);
  EXPECT_THAT(error_of([] { hand_over(1, false, true); }), HasSubstr("race in shared memory"));
  EXPECT_THAT(error_of([] { hand_over(9, true, false); }), HasSubstr("race in shared memory"));
}

TEST(CudaEmulationTest, APhaseWaitsForEveryReaderOfAStage) {
  const auto overwrite = [](int num_readers) {
    run_cta(96, [=] {
      SharedMemory memory;
      const auto place = memory.take<int>(1);
      const PhaseBarrier is_free(memory.take<std::uint64_t>(1));
      if (threadIdx.x == 0) {
        place[0] = 1;
        is_free.init(num_readers);
      }
      __syncthreads();
      if (warp_index() == 0) {
        is_free.wait(0);
        if (lane_index() == 0) place[0] = 2;
      } else {
        const int got = place[0];
        EXPECT_EQ(got, 1);
        if (warp_index() <= num_readers) is_free.arrive_as_warp();
      }
    });
  };
  overwrite(2);
  EXPECT_THAT(error_of([&] { overwrite(1); }), HasSubstr("race in shared memory"));
}

TEST(CudaEmulationTest, APhaseThatNoOneCompletesIsNamed) {
  EXPECT_THAT(error_of([] {
                run_cta(32, [] {
                  SharedMemory memory;
                  const PhaseBarrier barrier(memory.take<std::uint64_t>(1));
                  if (threadIdx.x == 0) barrier.init(2);
                  __syncthreads();
                  barrier.arrive_as_warp();
                  barrier.wait(0);
                });
              }),
              HasSubstr("threads of a CTA diverge"));
}

TEST(CudaEmulationTest, CopiesAreThereForThoseWhoWaitForTheirPhase) {
  alignas(16) std::array<float, 4> source = {1, 2, 3, 4};
  float got = 0.0F;
  run_cta(64, [&] {
    SharedMemory memory;
    const auto values = memory.take<float>(4);
    const PhaseBarrier is_full(memory.take<std::uint64_t>(1));
    if (threadIdx.x == 0) is_full.init(kWarpSize);
    __syncthreads();
    if (warp_index() == 0) {
      if (lane_index() == 3) async_copy_16(values, source.data());
      is_full.arrive_with_copies();
    } else {
      is_full.wait(0);
      if (lane_index() == 0) got = values[2];
    }
  });
  EXPECT_EQ(got, 3.0F);
}

}  // namespace
}  // namespace tessera::kernels::cuda

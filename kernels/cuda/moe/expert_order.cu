#include "kernels/cuda/moe/expert_order.h"

#include <algorithm>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/cuda/gemm/tile.cuh"

namespace tessera::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;

__host__ __device__ inline int tiles_of(int num_slots) {
  return (num_slots + TileShape::kTileRows - 1) / TileShape::kTileRows;
}

struct Extent {
  int slots = 0;
  int tiles = 0;
};

// A counting sort with one CTA for every expert: each counts all, then collects its own.
__global__ __launch_bounds__(kThreads) void order_kernel(const std::int32_t* experts,
                                                         int num_slots,
                                                         int first_expert,
                                                         int num_experts,
                                                         int experts_per_token,
                                                         ExpertOrder order) {
  SharedMemory memory;
  const SharedSpan<int> counts = memory.take<int>(num_experts);
  const SharedSpan<Extent> extents = memory.take<Extent>(kWarps);
  const SharedSpan<int> of_warps = memory.take<int>(kWarps);
  const int mine = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  for (int e = thread; e < num_experts; e += kThreads) counts[e] = 0;
  __syncthreads();
  for (int slot = thread; slot < num_slots; slot += kThreads) {
    const int e = experts[slot] - first_expert;
    if (e >= 0 && e < num_experts) shared_atomic_add(counts, e, 1);
  }
  __syncthreads();

  Extent before;  // what the experts below take
  for (int e = thread; e < mine; e += kThreads) {
    const int count = counts[e];
    before.slots += count;
    before.tiles += tiles_of(count);
  }
  before = cta_reduce<kThreads>(before, extents, [](const Extent& a, const Extent& b) {
    return Extent{a.slots + b.slots, a.tiles + b.tiles};
  });
  const int count = counts[mine];
  for (int tile = thread; tile < tiles_of(count); tile += kThreads) {
    const int first = tile * TileShape::kTileRows;
    order.tiles[before.tiles + tile] = {mine, before.slots + first,
                                        min(int{TileShape::kTileRows}, count - first)};
  }
  if (mine == num_experts - 1 && thread == 0) *order.num_tiles = before.tiles + tiles_of(count);

  const unsigned lower_lanes = (1U << lane_index()) - 1;
  int next = before.slots;
  for (int first = 0; first < num_slots; first += kThreads) {
    const int slot = first + thread;
    const bool is_mine = slot < num_slots && experts[slot] - first_expert == mine;
    const unsigned lanes = __ballot_sync(kAllLanes, is_mine ? 1 : 0);
    if (lane_index() == 0) of_warps[warp_index()] = __popc(lanes);
    __syncthreads();
    int place = next;
    for (int warp = 0; warp < kWarps; ++warp) {
      const int of_warp = of_warps[warp];
      if (warp < warp_index()) place += of_warp;
      next += of_warp;
    }
    __syncthreads();
    if (is_mine) {
      place += __popc(lanes & lower_lanes);
      order.slots[place] = slot;
      order.rows[place] = slot / experts_per_token;
    }
  }
}

}  // namespace

std::int64_t max_expert_tiles(std::int64_t num_slots, std::int64_t num_experts) {
  return num_slots / TileShape::kTileRows + std::min(num_slots, num_experts);
}

void order_by_expert(Context& context,
                     const std::int32_t* experts,
                     std::int64_t num_slots,
                     std::int32_t first_expert,
                     std::int32_t num_experts,
                     std::int32_t experts_per_token,
                     const ExpertOrder& order) {
  launch(&order_kernel,
         {.grid_x = num_experts,
          .grid_y = 1,
          .threads = kThreads,
          .shared_bytes = SharedMemory::bytes_of<int>(num_experts) +
                          SharedMemory::bytes_of<Extent>(kWarps) +
                          SharedMemory::bytes_of<int>(kWarps)},
         context.stream(), experts, static_cast<int>(num_slots), first_expert, num_experts,
         experts_per_token, order);
}

}  // namespace tessera::kernels::cuda

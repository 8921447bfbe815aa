#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention/attention_softmax.cuh"
#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/attention/attention_variant.h"
#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/matrix_unit.h"

namespace tessera::kernels::cuda {
namespace {

// A CTA's queries times the keys that it visits. Each of kRowWarps warps makes 16 queries and, of
// their outputs, one of kColWarps parts of the columns.
template <int kDimOf, int kRowWarpsOf, int kColWarpsOf, int kKeysOf, int kStagesOf>
struct TileShape {
  static constexpr int kDim = kDimOf;  // head_dim, rounded up
  static constexpr int kRowWarps = kRowWarpsOf;
  static constexpr int kColWarps = kColWarpsOf;
  static constexpr int kKeys = kKeysOf;  // of a stage
  static constexpr int kStages = kStagesOf;
  static constexpr int kThreads = kRowWarps * kColWarps * kWarpSize;
  static constexpr int kQueries = kRowWarps * 16;
  static constexpr int kOutCols = kDim / kColWarps;  // of a warp
  static constexpr bool kKeepQueries = kDim <= 128;  // in registers
  static constexpr int kStageElements = 2 * kKeys * kDim;
  static constexpr int kSharedBytes = SharedMemory::bytes_of<Bf16>(kQueries * kDim) +
                                      SharedMemory::bytes_of<Bf16>(kStages * kStageElements);
};

// 16 queries of a warp. Of a thread: queries g and g + 8, g = lane / 4; see matrix_unit.h.
template <typename Shape>
class WarpQueries {
 public:
  __device__ WarpQueries(const AttentionKernelArgs& args, SharedSpan<Bf16> queries, int first_query)
      : args_(args), queries_(queries), first_query_(first_query) {}

  __device__ void keep() {
#pragma unroll
    for (int i = 0; i < kKept; ++i) load(i, kept_[i]);
  }

  // scores = q k^T of one stage of keys.
  __device__ void multiply_keys(SharedSpan<Bf16> keys, float (&scores)[Shape::kKeys / 8][4]) {
#pragma unroll
    for (auto& fragment : scores) {
      for (float& score : fragment) score = 0.0F;
    }
#pragma unroll
    for (int i = 0; i < Shape::kDim / 16; ++i) {
      std::uint32_t q[4];
      if constexpr (Shape::kKeepQueries) {
#pragma unroll
        for (int j = 0; j < 4; ++j) q[j] = kept_[i][j];
      } else {
        load(i, q);
      }
#pragma unroll
      for (int j = 0; j < Shape::kKeys / 16; ++j) {
        std::uint32_t k[4];
        load_tiles(k, keys + lane_offset(Shape::kKeys, j * 16, i * 16));
        const std::uint32_t low[2] = {k[0], k[2]};
        const std::uint32_t high[2] = {k[1], k[3]};
        multiply_16x8x16(scores[2 * j], q, low);
        multiply_16x8x16(scores[2 * j + 1], q, high);
      }
    }
  }

 private:
  static constexpr int kKept = Shape::kKeepQueries ? Shape::kDim / 16 : 0;

  __device__ void load(int step, std::uint32_t (&q)[4]) const {
    load_tiles(q, queries_ + lane_offset(Shape::kQueries, first_query_, step * 16));
#pragma unroll
    for (std::uint32_t& pair : q) pair ^= args_.sign_flip;
  }

  const AttentionKernelArgs& args_;
  SharedSpan<Bf16> queries_;
  int first_query_;
  std::uint32_t kept_[kKept + 1][4];
};

// sums += weights v, for columns [first_col, first_col + kOutCols).
template <typename Shape>
__device__ void add_values(SharedSpan<Bf16> values,
                           int first_col,
                           const std::uint32_t (&weights)[Shape::kKeys / 16][4],
                           float (&sums)[Shape::kOutCols / 8][4]) {
#pragma unroll
  for (int i = 0; i < Shape::kKeys / 16; ++i) {
#pragma unroll
    for (int j = 0; j < Shape::kOutCols / 16; ++j) {
      std::uint32_t v[4];
      load_tiles_transposed(v, values + lane_offset(Shape::kKeys, i * 16, first_col + j * 16));
      const std::uint32_t low[2] = {v[0], v[1]};
      const std::uint32_t high[2] = {v[2], v[3]};
      multiply_16x8x16(sums[2 * j], weights[i], low);
      multiply_16x8x16(sums[2 * j + 1], weights[i], high);
    }
  }
}

// One item for one KV head. Keys lie in tiles of kKeys, aligned to absolute positions; the next
// kStages - 1 are on their way while one is used.
template <typename Shape>
__device__ void run_item(const AttentionKernelArgs& args,
                         const PlanItem& item,
                         int kv_head,
                         SharedSpan<Bf16> queries,
                         SharedSpan<Bf16> stages) {
  const KeyWindow window(args, item);
  const int end = (item.key_end + Shape::kKeys - 1) / Shape::kKeys;
  int loading = next_tile<Shape::kKeys>(window, item.key_begin / Shape::kKeys, end);
  int tile = loading;
  int load_stage = 0;
  const auto load_next = [&] {
    if (loading < end) {
      const SharedSpan<Bf16> stage = stages + load_stage * Shape::kStageElements;
      load_keys<Shape::kKeys, Shape::kDim, Shape::kThreads>(args, item.span, window, kv_head,
                                                            loading * Shape::kKeys, stage,
                                                            stage + Shape::kKeys * Shape::kDim);
      loading = next_tile<Shape::kKeys>(window, loading + 1, end);
      load_stage = load_stage + 1 < Shape::kStages ? load_stage + 1 : 0;
    }
    async_commit();
  };
  load_queries<Shape::kQueries, Shape::kDim, Shape::kThreads>(
      args, item, kv_head, static_cast<int>(threadIdx.x), queries);
  for (int i = 0; i < Shape::kStages - 1; ++i) load_next();

  const int first_query = warp_index() % Shape::kRowWarps * 16;
  const int first_col = warp_index() / Shape::kRowWarps * Shape::kOutCols;
  const QueryView views[2] = {query_view(args, item, first_query + lane_index() / 4),
                              query_view(args, item, first_query + lane_index() / 4 + 8)};
  WarpQueries<Shape> mine(args, queries, first_query);
  RunningSoftmax<Shape> softmax;
  // The queries came with the first stage.
  async_wait<Shape::kStages - 2>();
  __syncthreads();
  mine.keep();
  int stage_index = 0;
  while (tile < end) {
    load_next();
    const SharedSpan<Bf16> stage = stages + stage_index * Shape::kStageElements;
    const Position first_key = tile * Shape::kKeys;
    float scores[Shape::kKeys / 8][4];
    mine.multiply_keys(stage, scores);
    if (!window.all_of(first_key, first_key + Shape::kKeys)) {
      hide_unseen<Shape>(window, views, first_key, scores);
    }
    std::uint32_t weights[Shape::kKeys / 16][4];
    softmax.weigh(args.scale, scores, weights);
    softmax.shrink();
    add_values<Shape>(stage + Shape::kKeys * Shape::kDim, first_col, weights, softmax.sums());
    tile = next_tile<Shape::kKeys>(window, tile + 1, end);
    stage_index = stage_index + 1 < Shape::kStages ? stage_index + 1 : 0;
    // The next stage is there, and all have read this one, which is loaded next.
    async_wait<Shape::kStages - 2>();
    __syncthreads();
  }
  async_wait<0>();
  __syncthreads();  // the next item overwrites the queries
  softmax.finish();
  store_result<Shape>(args, item, kv_head, first_query, first_col, softmax);
}

// CTAs share the items, each for every KV head.
template <typename Shape>
__global__ __launch_bounds__(Shape::kThreads, 1) void attention_kernel(
    const __grid_constant__ AttentionKernelArgs args) {
  SharedMemory memory;
  const auto queries = memory.take<Bf16>(Shape::kQueries * Shape::kDim);
  const auto stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  release_next_kernel();
  for (auto work = static_cast<int>(blockIdx.x); work < args.header->num_items * args.num_kv_heads;
       work = next_work(work)) {
    run_item<Shape>(args, args.items[work / args.num_kv_heads], work % args.num_kv_heads, queries,
                    stages);
  }
}

template <int kDim, int kRowWarps, int kColWarps, int kKeys, int kStages>
AttentionVariant variant() {
  using Shape = TileShape<kDim, kRowWarps, kColWarps, kKeys, kStages>;
  return {&attention_kernel<Shape>,
          {.threads = Shape::kThreads, .shared_bytes = Shape::kSharedBytes},
          Shape::kQueries};
}

}  // namespace

AttentionVariant tile_variant(int head_dim, bool few_queries) {
  if (head_dim <= 64) return few_queries ? variant<64, 4, 1, 64, 3>() : variant<64, 8, 1, 64, 3>();
  if (head_dim <= 128) {
    return few_queries ? variant<128, 4, 1, 64, 3>() : variant<128, 8, 1, 64, 3>();
  }
  if (head_dim <= 256) return variant<256, 4, 2, 32, 3>();
  return variant<512, 4, 2, 16, 3>();
}

}  // namespace tessera::kernels::cuda

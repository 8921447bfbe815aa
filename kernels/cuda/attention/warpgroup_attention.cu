#include <cstdint>

#include "kernels/cuda/attention/attention_softmax.cuh"
#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/attention/attention_variant.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/warpgroup_unit.h"

namespace tessera::kernels::cuda {
namespace {

// Each of kGroups warpgroups makes 64 queries.
template <int kDimOf, int kGroupsOf, int kKeysOf, int kStagesOf>
struct GroupShape {
  static constexpr int kDim = kDimOf;
  static constexpr int kGroups = kGroupsOf;
  static constexpr int kKeys = kKeysOf;
  static constexpr int kStages = kStagesOf;
  static constexpr int kThreads = kGroups * kWarpgroupSize;
  static constexpr int kQueries = kGroups * 64;
  static constexpr int kOutCols = kDim;
  static constexpr int kProductCols = kDim < 128 ? kDim : 128;  // of sums that one product makes
  static_assert(kOutCols % kProductCols == 0);
  static constexpr int kStageElements = 2 * kKeys * kDim;
  static constexpr int kSharedBytes = SharedMemory::bytes_of<Bf16>(kQueries * kDim) +
                                      SharedMemory::bytes_of<Bf16>(kStages * kStageElements);
};

#ifdef TESSERA_HAS_WARPGROUP_UNIT
// scores = q k^T, of 64 queries and one stage of keys.
template <typename Shape>
__device__ void begin_scores(SharedSpan<Bf16> queries,
                             SharedSpan<Bf16> keys,
                             float (&scores)[Shape::kKeys / 8][4]) {
#pragma unroll
  for (int i = 0; i < Shape::kDim / 16; ++i) {
    const int col = i % 4 * 16;
    multiply_rows<Shape::kKeys>(scores, queries + (i / 4 * Shape::kQueries * 64 + col),
                                keys + (i / 4 * Shape::kKeys * 64 + col), /*adds=*/i > 0);
  }
}

// sums += weights v.
template <typename Shape>
__device__ void begin_values(SharedSpan<Bf16> values,
                             const std::uint32_t (&weights)[Shape::kKeys / 16][4],
                             float (&sums)[Shape::kOutCols / 8][4]) {
  constexpr int kFragments = Shape::kProductCols / 8;
#pragma unroll
  for (int i = 0; i < Shape::kKeys / 16; ++i) {
#pragma unroll
    for (int part = 0; part < Shape::kDim / Shape::kProductCols; ++part) {
      auto& of_part = reinterpret_cast<float(&)[kFragments][4]>(sums[part * kFragments]);
      multiply_cols<Shape::kProductCols>(
          of_part, weights[i], values + (part * Shape::kProductCols * Shape::kKeys + i * 16 * 64),
          Shape::kKeys);
    }
  }
}

// As run_item of tile_attention.cu. The products of one warpgroup run while the other does its
// softmax, and both while the next keys are asked for.
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
  load_queries<Shape::kQueries, Shape::kDim, Shape::kThreads>(args, item, kv_head, queries);
  for (int i = 0; i < Shape::kStages - 1; ++i) load_next();

  const int first_query = warp_index() * 16;
  const QueryView views[2] = {query_view(args, item, first_query + lane_index() / 4),
                              query_view(args, item, first_query + lane_index() / 4 + 8)};
  const SharedSpan<Bf16> mine = queries + warp_index() / 4 * 64 * 64;
  RunningSoftmax<Shape> softmax;
  int stage_index = 0;
  while (tile < end) {
    // This stage is there (the first came with the queries), and the one before it is read.
    async_wait<Shape::kStages - 2>();
    publish_to_products();
    __syncthreads();
    const SharedSpan<Bf16> stage = stages + stage_index * Shape::kStageElements;
    const Position first_key = tile * Shape::kKeys;
    float scores[Shape::kKeys / 8][4];
    begin_products(scores);
    begin_scores<Shape>(mine, stage, scores);
    commit_products();
    load_next();
    finish_products(scores);
    if (args.sign_flip != 0) {
#pragma unroll
      for (auto& fragment : scores) {
        for (float& score : fragment) score = -score;
      }
    }
    if (!window.all_of(first_key, first_key + Shape::kKeys)) {
      hide_unseen<Shape>(window, views, first_key, scores);
    }
    std::uint32_t weights[Shape::kKeys / 16][4];
    softmax.weigh(args.scale, scores, weights);
    begin_products(weights, softmax.sums());
    begin_values<Shape>(stage + Shape::kKeys * Shape::kDim, weights, softmax.sums());
    commit_products();
    tile = next_tile<Shape::kKeys>(window, tile + 1, end);
    stage_index = stage_index + 1 < Shape::kStages ? stage_index + 1 : 0;
    finish_products(softmax.sums());
  }
  async_wait<0>();
  __syncthreads();  // the next item overwrites the queries
  softmax.finish();
  store_result<Shape>(args, item, kv_head, first_query, /*first_col=*/0, softmax);
}
#endif

template <typename Shape>
__global__ __launch_bounds__(Shape::kThreads, 1) void warpgroup_attention_kernel(
    const __grid_constant__ AttentionKernelArgs args) {
#ifdef TESSERA_HAS_WARPGROUP_UNIT
  SharedMemory memory;
  const auto queries = memory.take<Bf16>(Shape::kQueries * Shape::kDim);
  const auto stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  for (auto work = static_cast<int>(blockIdx.x); work < args.header->num_items * args.num_kv_heads;
       work = next_work(work)) {
    run_item<Shape>(args, args.items[work / args.num_kv_heads], work % args.num_kv_heads, queries,
                    stages);
  }
#endif
}

template <int kDim, int kGroups, int kKeys, int kStages>
AttentionVariant variant() {
  using Shape = GroupShape<kDim, kGroups, kKeys, kStages>;
  return {&warpgroup_attention_kernel<Shape>,
          {.threads = Shape::kThreads, .shared_bytes = Shape::kSharedBytes},
          Shape::kQueries};
}

}  // namespace

AttentionVariant warpgroup_variant(int head_dim, int num_groups) {
  const bool one = num_groups == 1;
  if (head_dim <= 64) return one ? variant<64, 1, 128, 3>() : variant<64, 2, 128, 3>();
  if (head_dim <= 128) return one ? variant<128, 1, 128, 3>() : variant<128, 2, 128, 3>();
  return one ? variant<256, 1, 64, 2>() : variant<256, 2, 64, 2>();
}

}  // namespace tessera::kernels::cuda

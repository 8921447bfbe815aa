#include "kernels/cuda/attention/block_attention.h"

#include <bit>
#include <cmath>

#include "kernels/cuda/attention/attention_plan.h"
#include "kernels/cuda/attention/attention_softmax.cuh"
#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/attention/attention_variant.h"
#include "kernels/cuda/base/staged_arrays.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/matrix_unit.h"
#include "kernels/cuda/device/view.h"
#include "kernels/op_checks.h"

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

// A CTA does one item (blockIdx.x) for one KV head (blockIdx.y). Keys lie in tiles of kKeys,
// aligned to absolute positions; the next kStages - 1 are on their way while one is used.
template <typename Shape>
__global__ __launch_bounds__(Shape::kThreads) void attention_kernel(
    const __grid_constant__ AttentionKernelArgs args) {
  SharedMemory memory;
  const auto queries = memory.take<Bf16>(Shape::kQueries * Shape::kDim);
  const auto stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  const PlanItem& item = args.items[blockIdx.x];
  const int kv_head = static_cast<int>(blockIdx.y);
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
    add_values<Shape>(stage + Shape::kKeys * Shape::kDim, first_col, weights, softmax.sums());
    tile = next_tile<Shape::kKeys>(window, tile + 1, end);
    stage_index = stage_index + 1 < Shape::kStages ? stage_index + 1 : 0;
    // The next stage is there, and all have read this one, which is loaded next.
    async_wait<Shape::kStages - 2>();
    __syncthreads();
  }
  softmax.finish();
  store_result<Shape>(args, item, kv_head, first_query, first_col, softmax);
}

constexpr int kMergeWarps = 4;

// A warp adds up the parts of one query, in order.
__global__ __launch_bounds__(kMergeWarps* kWarpSize) void merge_kernel(
    const __grid_constant__ AttentionKernelArgs args) {
  const MergeItem item = args.merges[blockIdx.x];
  const int kv_head = static_cast<int>(blockIdx.y) % args.num_kv_heads;
  const int query = static_cast<int>(blockIdx.y) / args.num_kv_heads * kMergeWarps + warp_index();
  if (query >= item.num_queries) return;
  const std::int64_t first = kv_head * args.num_partials + item.first_partial + query;
  const float2* stats = args.partial_stats + first;
  float top = -INFINITY;
  for (int part = 0; part < item.num_parts; ++part) {
    top = fmaxf(top, stats[std::int64_t{part} * item.num_queries].x);
  }
  const QueryPlace place = query_place(args, item.first_row, item.first_query + query, kv_head);
  Bf16* out = args.out.row(place.row) + place.col;
  for (int col = lane_index() * 2; col < args.head_dim; col += 2 * kWarpSize) {
    float total = 0.0F;
    float2 sum = {0.0F, 0.0F};
    for (int part = 0; part < item.num_parts; ++part) {
      const std::int64_t at = std::int64_t{part} * item.num_queries;
      if (stats[at].y <= 0.0F) continue;
      const float factor = fast_exp2(stats[at].x - top);
      const float2 value =
          *reinterpret_cast<const float2*>(args.partial_sums + (first + at) * args.head_dim + col);
      total = fmaf(stats[at].y, factor, total);
      sum = {fmaf(value.x, factor, sum.x), fmaf(value.y, factor, sum.y)};
    }
    const float factor = total > 0.0F ? 1.0F / total : 0.0F;
    store_pair(out + col, sum.x * factor, sum.y * factor);
  }
}

template <int kDim, int kRowWarps, int kColWarps, int kKeys, int kStages>
AttentionVariant variant() {
  using Shape = TileShape<kDim, kRowWarps, kColWarps, kKeys, kStages>;
  return {&attention_kernel<Shape>,
          {.threads = Shape::kThreads, .shared_bytes = Shape::kSharedBytes},
          Shape::kQueries};
}

// The kernel, and the keys of its tiles, depend on GPU and head size alone: so do bits.
AttentionVariant choose(int compute_capability, int head_dim, int most_queries) {
  const bool few = most_queries <= 64;
  if (compute_capability == 90 && head_dim <= kMaxWarpgroupHeadDim) {
    return warpgroup_variant(head_dim, few ? 1 : 2);
  }
  if (head_dim <= 64) return few ? variant<64, 4, 1, 64, 3>() : variant<64, 8, 1, 64, 3>();
  if (head_dim <= 128) return few ? variant<128, 4, 1, 64, 3>() : variant<128, 8, 1, 64, 3>();
  if (head_dim <= 256) return variant<256, 4, 2, 32, 3>();
  return variant<512, 4, 2, 16, 3>();
}

constexpr std::int32_t kDeterministicPartKeys = 1024;

PlanShape plan_shape(const Context& context, const AttentionVariant& variant) {
  constexpr int kMultiprocessorBytes = 224 << 10;  // of shared memory
  const int resident = std::max(
      1, std::min(kMultiprocessorBytes / variant.shape.shared_bytes, 256 / variant.shape.threads));
  return {.tile_queries = variant.num_queries,
          .part_keys = context.deterministic() ? kDeterministicPartKeys : 0,
          .num_slots = context.device().num_multiprocessors * resident};
}

int most_queries(const AttentionArgs& args) {
  std::int32_t rows = 0;
  for (const AttentionSpan& span : args.spans) rows = std::max(rows, span.num_rows);
  return rows * (args.num_q_heads / args.pages.num_kv_heads);
}

bool heads_aligned(const ConstMatrixView& view, int head_dim) {
  return is_aligned(view) && head_dim % 8 == 0;
}

AttentionKernelArgs kernel_args(Context& context,
                                const AttentionArgs& args,
                                const AttentionPlan& plan) {
  const KvPages& pages = args.pages;
  constexpr float kLog2E = 1.4426950409F;
  constexpr float kTiny = 1e-30F;  // all scores equal, without 0 * inf
  const std::int64_t partials = std::int64_t{plan.num_partials} * pages.num_kv_heads;
  const std::int64_t sum_bytes = partials * pages.head_dim * std::int64_t{sizeof(float)};
  std::byte* scratch = context.scratch(sum_bytes + partials * std::int64_t{sizeof(float2)});
  StagedArrays arrays;
  const std::int64_t items = arrays.add(std::span<const PlanItem>(plan.items));
  const std::int64_t merges = arrays.add(std::span<const MergeItem>(plan.merges));
  const std::int64_t page_table = arrays.add(std::span<const PageId>(plan.page_table));
  const std::int64_t fresh_ends = arrays.add(std::span<const Position>(plan.fresh_ends));
  arrays.send(context);
  const auto size = static_cast<unsigned>(pages.page_size);
  return {
      .q = rows_view<const Bf16>(args.q),
      .k = rows_view<const Bf16>(args.k),
      .v = rows_view<const Bf16>(args.v),
      .out = rows_view<Bf16>(args.out),
      .k_pages = static_cast<const Bf16*>(pages.k),
      .v_pages = static_cast<const Bf16*>(pages.v),
      .items = arrays.at<PlanItem>(items),
      .merges = arrays.at<MergeItem>(merges),
      .page_table = arrays.at<PageId>(page_table),
      .fresh_ends = arrays.at<Position>(fresh_ends),
      .partial_sums = reinterpret_cast<float*>(scratch),
      .partial_stats = reinterpret_cast<float2*>(scratch + sum_bytes),
      .num_partials = plan.num_partials,
      .num_kv_heads = pages.num_kv_heads,
      .group = args.num_q_heads / pages.num_kv_heads,
      .head_dim = pages.head_dim,
      .page_size = pages.page_size,
      .page_shift = std::has_single_bit(size) ? std::countr_zero(size) : -1,
      .window = args.window,
      .scale = std::max(kTiny, std::abs(args.scale) * kLog2E),
      .sign_flip = args.scale < 0.0F ? 0x80008000U : 0U,
      .q_aligned = heads_aligned(args.q, pages.head_dim),
      .new_aligned = heads_aligned(args.k, pages.head_dim) && heads_aligned(args.v, pages.head_dim),
      .pages_aligned = is_aligned(pages.k) && is_aligned(pages.v) && pages.head_dim % 8 == 0};
}

}  // namespace

void block_attention(Context& context, const AttentionArgs& args) {
  check_attention(args, DType::kBFloat16, DType::kBFloat16);
  const AttentionVariant chosen =
      choose(context.device().compute_capability, args.pages.head_dim, most_queries(args));
  const AttentionPlan plan = plan_attention(args, plan_shape(context, chosen));
  const AttentionKernelArgs shared = kernel_args(context, args, plan);
  LaunchShape shape = chosen.shape;
  shape.grid_x = static_cast<std::int64_t>(plan.items.size());
  shape.grid_y = args.pages.num_kv_heads;
  launch(chosen.kernel, shape, context.stream(), shared);
  launch(&merge_kernel,
         {.grid_x = static_cast<std::int64_t>(plan.merges.size()),
          .grid_y = std::int64_t{args.pages.num_kv_heads} * (chosen.num_queries / kMergeWarps),
          .threads = kMergeWarps * kWarpSize},
         context.stream(), shared);
}

}  // namespace tessera::kernels::cuda

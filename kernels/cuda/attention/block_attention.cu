#include "kernels/cuda/attention/block_attention.h"

#include <bit>
#include <cmath>

#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/attention/attention_variant.h"
#include "kernels/cuda/base/staged_arrays.h"
#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

constexpr int kMergeWarps = 8;
constexpr int kMergeCtas = 4;                    // of a multiprocessor
constexpr int kMergeCols = kVector * kWarpSize;  // of a query, that a warp adds up

// Adds up kMergeCols columns of a query's parts, in order: parts that saw nothing do not change a
// bit.
__device__ void merge_query(
    const AttentionKernelArgs& args, const MergeItem& item, int query, int kv_head, int first_col) {
  const auto partial_of = [&](int part) {
    return std::int64_t{item.first_partial + part * item.num_queries + query} * args.num_kv_heads +
           kv_head;
  };
  const auto stats_of = [&](int part) {
    return part < item.num_parts ? args.partial_stats[partial_of(part)] : float2{-INFINITY, 0.0F};
  };
  const bool aligned = args.head_dim % kVector == 0;
  float2 stats = stats_of(lane_index());
  float top = stats.x;
  for (int part = kWarpSize + lane_index(); part < item.num_parts; part += kWarpSize) {
    top = fmaxf(top, stats_of(part).x);
  }
  top = warp_max(top);
  const int col = first_col + lane_index() * kVector;
  float total = 0.0F;
  float4 sum = {0.0F, 0.0F, 0.0F, 0.0F};
  for (int first = 0; first < item.num_parts; first += kWarpSize) {
    if (first > 0) stats = stats_of(first + lane_index());
    const float mine = stats.y > 0.0F ? fast_exp2(stats.x - top) : 0.0F;
    const int count = min(kWarpSize, item.num_parts - first);
#pragma unroll 8
    for (int i = 0; i < count; ++i) {
      const float4 value = load_vector(args.partial_sums + partial_of(first + i) * args.head_dim,
                                       col, args.head_dim, aligned);
      const float factor = __shfl_sync(kAllLanes, mine, i);
      total = fmaf(__shfl_sync(kAllLanes, stats.y, i), factor, total);
      sum = {fmaf(value.x, factor, sum.x), fmaf(value.y, factor, sum.y),
             fmaf(value.z, factor, sum.z), fmaf(value.w, factor, sum.w)};
    }
  }
  const QueryPlace place = query_place(args, item.first_row, item.first_query + query, kv_head);
  const float factor = total > 0.0F ? 1.0F / total : 0.0F;
  store_vector(args.out.row(place.row) + place.col, col, args.head_dim, args.out_aligned,
               {sum.x * factor, sum.y * factor, sum.z * factor, sum.w * factor});
}

__global__ __launch_bounds__(kMergeWarps* kWarpSize, kMergeCtas) void merge_kernel(
    const __grid_constant__ AttentionKernelArgs args, const int tile_queries) {
  const int num_cols = (args.head_dim + kMergeCols - 1) / kMergeCols;
  const int of_query = args.num_kv_heads * num_cols;
  const int count = args.header->num_merges * tile_queries * of_query;
  const int num_warps = static_cast<int>(gridDim.x) * kMergeWarps;
  bool waited = false;
  for (int i = static_cast<int>(blockIdx.x) * kMergeWarps + warp_index(); i < count;
       i += num_warps) {
    const MergeItem item = args.merges[i / of_query / tile_queries];
    const int query = i / of_query % tile_queries;
    const int rest = i % of_query;
    if (!waited) await_previous_kernel();
    waited = true;
    if (query < item.num_queries) {
      merge_query(args, item, query, rest / num_cols, rest % num_cols * kMergeCols);
    }
  }
  // Kernels behind this one count on those before it.
  if (!waited) await_previous_kernel();
}

// The kernel, and the keys of its tiles, depend on GPU and head size alone: so do bits.
AttentionVariant choose(int compute_capability, int head_dim, bool few_queries) {
  if (compute_capability == 90 && head_dim <= kMaxWarpgroupHeadDim) {
    return warpgroup_variant(head_dim);
  }
  return tile_variant(head_dim, few_queries);
}

constexpr int kFewQueries = 64;
constexpr std::int32_t kDeterministicPartKeys = 1024;

bool heads_aligned(const ConstMatrixView& view, int head_dim) {
  return is_aligned(view) && head_dim % 8 == 0;
}

constexpr std::int64_t kProgressBytes = kPacedWork * std::int64_t{sizeof(int)};

std::int64_t sum_bytes_of(const KvPages& pages, std::int64_t max_partials) {
  return max_partials * pages.num_kv_heads * pages.head_dim * std::int64_t{sizeof(float)};
}

AttentionKernelArgs kernel_args(Context& context,
                                const AttentionArgs& args,
                                const StagedPlan& plan) {
  const KvPages& pages = args.pages;
  constexpr float kLog2E = 1.4426950409F;
  constexpr float kTiny = 1e-30F;  // all scores equal, without 0 * inf
  std::byte* scratch = context.scratch(attention_scratch_bytes(pages, plan.max_partials));
  const auto size = static_cast<unsigned>(pages.page_size);
  return {
      .q = rows_view<const Bf16>(args.q),
      .k = rows_view<const Bf16>(args.k),
      .v = rows_view<const Bf16>(args.v),
      .out = rows_view<Bf16>(args.out),
      .k_pages = static_cast<const Bf16*>(pages.k),
      .v_pages = static_cast<const Bf16*>(pages.v),
      .header = plan.header,
      .items = plan.items,
      .merges = plan.merges,
      .page_table = plan.page_table,
      .fresh_ends = plan.fresh_ends,
      .partial_sums = reinterpret_cast<float*>(scratch + kProgressBytes),
      .partial_stats = reinterpret_cast<float2*>(scratch + kProgressBytes +
                                                 sum_bytes_of(pages, plan.max_partials)),
      .progress = reinterpret_cast<int*>(scratch),
      .num_kv_heads = pages.num_kv_heads,
      .group = args.num_q_heads / pages.num_kv_heads,
      .head_dim = pages.head_dim,
      .page_size = pages.page_size,
      .page_shift = std::has_single_bit(size) ? std::countr_zero(size) : -1,
      .window = args.window,
      .scale = std::max(kTiny, std::abs(args.scale) * kLog2E),
      .sign_flip = args.scale < 0.0F ? 0x80008000U : 0U,
      .q_aligned = heads_aligned(args.q, pages.head_dim),
      .out_aligned = heads_aligned(args.out, pages.head_dim),
      .new_aligned = heads_aligned(args.k, pages.head_dim) && heads_aligned(args.v, pages.head_dim),
      .pages_aligned = is_aligned(pages.k) && is_aligned(pages.v) && pages.head_dim % 8 == 0};
}

int resident_ctas(const LaunchShape& shape) {
  constexpr int kMultiprocessorBytes = 224 << 10;  // of shared memory
  return std::max(1, std::min(kMultiprocessorBytes / shape.shared_bytes, 384 / shape.threads));
}

}  // namespace

PlanShape attention_plan_shape(const Context& context,
                               const KvPages& pages,
                               std::int32_t num_q_heads,
                               std::int64_t max_span_rows) {
  const bool few = max_span_rows * (num_q_heads / pages.num_kv_heads) <= kFewQueries;
  const AttentionVariant variant = choose(context.device().compute_capability, pages.head_dim, few);
  return {.tile_queries = variant.num_queries,
          .part_keys = context.deterministic() ? kDeterministicPartKeys : 0,
          .num_slots = context.device().num_multiprocessors * resident_ctas(variant.shape)};
}

StagedPlan stage_plan(Context& context, const AttentionPlan& plan, const PlanShape& shape) {
  const PlanHeader header = {static_cast<std::int32_t>(plan.items.size()),
                             static_cast<std::int32_t>(plan.merges.size())};
  StagedArrays arrays;
  const std::int64_t headers = arrays.add(std::span<const PlanHeader>(&header, 1));
  const std::int64_t items = arrays.add(std::span<const PlanItem>(plan.items));
  const std::int64_t merges = arrays.add(std::span<const MergeItem>(plan.merges));
  const std::int64_t page_table = arrays.add(std::span<const PageId>(plan.page_table));
  const std::int64_t fresh_ends = arrays.add(std::span<const Position>(plan.fresh_ends));
  arrays.send(context);
  return {.header = arrays.at<PlanHeader>(headers),
          .items = arrays.at<PlanItem>(items),
          .merges = arrays.at<MergeItem>(merges),
          .page_table = arrays.at<PageId>(page_table),
          .fresh_ends = arrays.at<Position>(fresh_ends),
          .max_partials = plan.num_partials,
          .tile_queries = shape.tile_queries};
}

std::int64_t attention_scratch_bytes(const KvPages& pages, std::int64_t max_partials) {
  return kProgressBytes + sum_bytes_of(pages, max_partials) +
         max_partials * pages.num_kv_heads * std::int64_t{sizeof(float2)};
}

void launch_attention(Context& context, const AttentionArgs& args, const StagedPlan& plan) {
  const int num_multiprocessors = context.device().num_multiprocessors;
  const AttentionVariant chosen = choose(context.device().compute_capability, args.pages.head_dim,
                                         plan.tile_queries <= kFewQueries);
  const AttentionKernelArgs shared = kernel_args(context, args, plan);
  LaunchShape shape = chosen.shape;
  shape.grid_x = std::int64_t{num_multiprocessors} * resident_ctas(shape);
  launch(chosen.kernel, shape, context.stream(), shared);
  if (plan.max_partials == 0) return;
  launch(&merge_kernel,
         {.grid_x = std::int64_t{num_multiprocessors} * kMergeCtas,
          .threads = kMergeWarps * kWarpSize,
          .starts_early = context.device().compute_capability >= 90},
         context.stream(), shared, plan.tile_queries);
}

void block_attention(Context& context, const AttentionArgs& args) {
  check_attention(args, DType::kBFloat16, DType::kBFloat16);
  std::int64_t max_span_rows = 0;
  for (const AttentionSpan& span : args.spans) {
    max_span_rows = std::max<std::int64_t>(max_span_rows, span.num_rows);
  }
  const PlanShape shape =
      attention_plan_shape(context, args.pages, args.num_q_heads, max_span_rows);
  AttentionPlan plan;
  plan_attention(args, shape, plan);
  if (plan.items.empty()) return;
  launch_attention(context, args, stage_plan(context, plan, shape));
}

}  // namespace tessera::kernels::cuda

#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention/attention_plan.h"
#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/bfloat16.h"
#include "kernels/cuda/device/exponential.h"
#include "kernels/cuda/device/target.h"
#include "kernels/cuda/device/view.h"

/// What the attention kernels share: arguments, which keys a CTA visits, and how they come into
/// shared memory.
namespace tessera::kernels::cuda {

struct AttentionKernelArgs {
  RowsView<const Bf16> q;
  RowsView<const Bf16> k;
  RowsView<const Bf16> v;
  RowsView<Bf16> out;
  const Bf16* k_pages;
  const Bf16* v_pages;
  const PlanSpan* spans;
  const PlanItem* items;
  const MergeItem* merges;
  const PageId* page_table;
  const Position* fresh_ends;
  float* partial_sums;    // [KV head][num_partials][head_dim]: of weights times values
  float2* partial_stats;  // [KV head][num_partials]: largest score, sum of weights
  std::int64_t num_partials;
  int num_kv_heads;
  int group;
  int head_dim;
  int page_size;
  int page_shift;  // page_size is 1 << page_shift; -1: it is no power of two
  int window;
  float scale;              // > 0: times log2(e), for powers of two
  std::uint32_t sign_flip;  // what makes two queries negative, for scales below zero
  bool q_aligned;           // every head of every row begins on 16 bytes
  bool new_aligned;         // of k and v
  bool pages_aligned;
};

/// Panels of 64 columns, one after the other; within a panel the eight pieces of 16 bytes of a row
/// change places with the row: eight rows of a column lie in different banks. The layout that
/// wgmma calls 128-byte swizzle.
__device__ inline int panel_offset(int num_rows, int row, int col) {
  return (col / 64 * num_rows + row) * 64 + ((col % 64 / 8) ^ (row % 8)) * 8;
}

/// Where this lane's row of four 8 x 8 tiles lies that begin at `row` and `col`, multiples of 16:
/// row lane % 16, columns 8 (lane / 16) and following. panel_offset(), but as four numbers of the
/// lane and constants.
__device__ inline int lane_offset(int num_rows, int row, int col) {
  const int mine = lane_index() % 16 * 64 + ((lane_index() / 16) ^ (lane_index() % 8)) * 8;
  return (mine ^ (col % 64)) + (col / 64 * num_rows + row) * 64;
}

/// Eight elements into shared memory, the first `count` of them from global memory.
__device__ inline void load_piece(SharedSpan<Bf16> to, const Bf16* from, int count, bool aligned) {
  if (count <= 0 || (aligned && count >= 8)) {
    async_copy_16(to, from, count > 0);
    return;
  }
  for (int i = 0; i < 8; ++i) to[i] = i < count ? from[i] : Bf16{0};
}

/// The keys that one of the queries of an item sees, or all of them.
class KeyWindow {
 public:
  __device__ KeyWindow(const AttentionKernelArgs& args, const PlanSpan& span, const PlanItem& item)
      : span_(span) {
    const int first = item.first_query / args.group;
    const int last = (item.first_query + item.num_queries - 1) / args.group;
    const Position* ends = args.fresh_ends + span.first_fresh_end;
    oldest_ = oldest_of(args, span.first + first);
    oldest_of_last_ = oldest_of(args, span.first + last);
    end_ = ends[last];
    end_of_first_ = ends[first];
    // Rows see runs of keys that move on with the row: the first and the last tell the rest.
  }

  __device__ static Position oldest_of(const AttentionKernelArgs& args, Position row) {
    return args.window > 0 ? max(0, row - args.window + 1) : 0;
  }

  __device__ bool is_cached(Position p) const {
    return p >= oldest_ && p < span_.cache_len && !(p >= span_.hole.begin && p < span_.hole.end);
  }
  __device__ bool is_new(Position p) const { return p >= max(oldest_, span_.first) && p < end_; }

  /// Whether a query may see a key of [begin, end).
  __device__ bool any_of(Position begin, Position end) const {
    if (max(begin, max(oldest_, span_.first)) < min(end, end_)) return true;
    const Position from = max(begin, oldest_);
    const Position to = min(end, span_.cache_len);
    if (from >= to) return false;
    return from < span_.hole.begin || to > span_.hole.end || span_.hole.begin >= span_.hole.end;
  }

  /// Whether every query sees every key of [begin, end).
  __device__ bool all_of(Position begin, Position end) const {
    if (begin < oldest_of_last_) return false;
    if (begin >= span_.first) return end <= end_of_first_;
    if (max(begin, span_.hole.begin) < min(end, span_.hole.end)) return false;
    return end <= span_.cache_len || (span_.cache_len == span_.first && end <= end_of_first_);
  }

 private:
  const PlanSpan& span_;
  Position oldest_;
  Position oldest_of_last_;
  Position end_;
  Position end_of_first_;
};

/// What one query sees.
struct QueryView {
  Position oldest;
  Position fresh_end;

  __device__ bool sees(const PlanSpan& span, Position p) const {
    const bool cached = p < span.cache_len && !(p >= span.hole.begin && p < span.hole.end);
    return p >= oldest && (cached || (p >= span.first && p < fresh_end));
  }
};

__device__ inline QueryView query_view(const AttentionKernelArgs& args,
                                       const PlanSpan& span,
                                       const PlanItem& item,
                                       int query) {
  const int row = (item.first_query + min(query, item.num_queries - 1)) / args.group;
  return {KeyWindow::oldest_of(args, span.first + row),
          args.fresh_ends[span.first_fresh_end + row]};
}

/// Where query i of a span lies in q and out: row, and first column.
struct QueryPlace {
  std::int64_t row;
  int col;
};

__device__ inline QueryPlace query_place(const AttentionKernelArgs& args,
                                         const PlanSpan& span,
                                         int query,
                                         int kv_head) {
  return {span.first_row + query / args.group,
          (kv_head * args.group + query % args.group) * args.head_dim};
}

/// Queries of an item into panels of kRows rows; rows and columns behind the end become zeros.
template <int kRows, int kDim, int kThreads>
__device__ void load_queries(const AttentionKernelArgs& args,
                             const PlanSpan& span,
                             const PlanItem& item,
                             int kv_head,
                             SharedSpan<Bf16> panels) {
  constexpr int kPieces = kDim / 8;
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPieces; i += kThreads) {
    const int query = i / kPieces;
    const int col = i % kPieces * 8;
    const bool present = query < item.num_queries;
    const QueryPlace place =
        query_place(args, span, item.first_query + (present ? query : 0), kv_head);
    load_piece(panels + panel_offset(kRows, query, col), args.q.row(place.row) + place.col + col,
               present ? args.head_dim - col : 0, args.q_aligned);
  }
}

/// Keys [first, first + kKeys) and their values, from pages or new rows, into panels of kKeys rows.
/// Zeros where no query sees the key: what is stored there may be anything, NaN as well.
template <int kKeys, int kDim, int kThreads>
__device__ void load_keys(const AttentionKernelArgs& args,
                          const PlanSpan& span,
                          const KeyWindow& window,
                          int kv_head,
                          Position first,
                          SharedSpan<Bf16> k_panels,
                          SharedSpan<Bf16> v_panels) {
  constexpr int kPieces = kDim / 8;
  constexpr int kStep = kThreads / kPieces;  // keys that the CTA loads at once
  static_assert(kThreads % kPieces == 0 && (kKeys % kStep == 0 || kStep % kKeys == 0));
  const int col = static_cast<int>(threadIdx.x) % kPieces * 8;
  [[maybe_unused]] constexpr int kUnroll =
      kDim <= 128 ? 4 : 1;  // sums leave few registers for addresses
#pragma unroll kUnroll
  for (int key = static_cast<int>(threadIdx.x) / kPieces; key < kKeys; key += kStep) {
    const Position p = first + key;
    const Bf16* k = args.k_pages;
    const Bf16* v = args.v_pages;
    int count = args.head_dim - col;
    bool aligned = args.pages_aligned;
    if (window.is_cached(p)) {
      const int page = args.page_shift >= 0 ? p >> args.page_shift : p / args.page_size;
      const std::int64_t slot =
          std::int64_t{args.page_table[span.first_page + page]} * args.page_size +
          (p - page * args.page_size);
      const std::int64_t offset = (slot * args.num_kv_heads + kv_head) * args.head_dim + col;
      k += offset;
      v += offset;
    } else if (window.is_new(p)) {
      const std::int64_t row = span.first_row + (p - span.first);
      k = args.k.row(row) + kv_head * args.head_dim + col;
      v = args.v.row(row) + kv_head * args.head_dim + col;
      aligned = args.new_aligned;
    } else {
      count = 0;
      k = v = args.q.data;
    }
    const int offset = panel_offset(kKeys, key, col);
    load_piece(k_panels + offset, k, count, aligned);
    load_piece(v_panels + offset, v, count, aligned);
  }
}

/// First key tile at or behind `tile` that a query sees; `end` if there is none.
template <int kKeys>
__device__ int next_tile(const KeyWindow& window, int tile, int end) {
  while (tile < end && !window.any_of(tile * kKeys, (tile + 1) * kKeys)) ++tile;
  return tile;
}

}  // namespace tessera::kernels::cuda

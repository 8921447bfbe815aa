#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/cuda/attention/block_attention.h"
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
  const PlanHeader* header;
  const PlanItem* items;
  const MergeItem* merges;
  const PageId* page_table;
  const Position* fresh_ends;
  float* partial_sums;    // [partial][KV head][head_dim]: of weights times values
  float2* partial_stats;  // [partial][KV head]: largest score, sum of weights
  int* progress;          // [kPacedWork] of items and KV heads: tiles loaded
  int num_kv_heads;
  int group;
  int head_dim;
  int page_size;
  int page_shift;  // page_size is 1 << page_shift; -1: it is no power of two
  int window;
  float scale;              // > 0: times log2(e), for powers of two
  std::uint32_t sign_flip;  // what makes two queries negative, for scales below zero
  bool q_aligned;           // every head of every row begins on 16 bytes
  bool out_aligned;
  bool new_aligned;  // of k and v
  bool pages_aligned;
};

/// Pieces of work, the first ones, whose twins keep pace.
inline constexpr int kPacedWork = 1 << 14;

/// A CTA's share of work that comes longest first: CTAs take turns, forwards and backwards, so that
/// all get about the same. The first piece of a CTA is blockIdx.x. @return The piece behind `work`.
__device__ inline int next_work(int work) {
  const auto num_ctas = static_cast<int>(gridDim.x);
  return (work / num_ctas + 2) * num_ctas - 1 - work % num_ctas;
}

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

/// The keys that one of the queries of an item sees, or all of them. Rows see runs of keys that
/// move on with the row: the first and the last tell the rest.
class KeyWindow {
 public:
  __device__ KeyWindow(const AttentionKernelArgs& args, const PlanItem& item)
      : first_(item.span.first),
        cache_len_(item.span.cache_len),
        hole_(item.span.hole),
        oldest_(oldest_of(args, item.span, item.first_query / args.group)),
        oldest_of_last_(
            oldest_of(args, item.span, (item.first_query + item.num_queries - 1) / args.group)),
        end_(item.end_of_last),
        end_of_first_(item.end_of_first) {}

  /// @param row  Of the span.
  __device__ static Position oldest_of(const AttentionKernelArgs& args,
                                       const PlanSpan& span,
                                       int row) {
    const Position from = span.looks_from_first ? span.first : span.first + row;
    return args.window > 0 ? max(0, from - args.window + 1) : 0;
  }

  __device__ bool is_cached(Position p) const {
    return p >= oldest_ && p < cache_len_ && !(p >= hole_.begin && p < hole_.end);
  }
  __device__ bool is_new(Position p) const { return p >= max(oldest_, first_) && p < end_; }

  /// Whether a query may see a key of [begin, end).
  __device__ bool any_of(Position begin, Position end) const {
    if (max(begin, max(oldest_, first_)) < min(end, end_)) return true;
    const Position from = max(begin, oldest_);
    const Position to = min(end, cache_len_);
    if (from >= to) return false;
    return from < hole_.begin || to > hole_.end || hole_.begin >= hole_.end;
  }

  /// Whether every query sees every key of [begin, end).
  __device__ bool all_of(Position begin, Position end) const {
    if (begin < oldest_of_last_) return false;
    if (begin >= first_) return end <= end_of_first_;
    if (max(begin, hole_.begin) < min(end, hole_.end)) return false;
    return end <= cache_len_ || (cache_len_ == first_ && end <= end_of_first_);
  }

  /// Whether the row at a position that sees new rows up to `fresh_end` sees a key.
  __device__ bool sees(Position oldest, Position fresh_end, Position p) const {
    const bool cached = p < cache_len_ && !(p >= hole_.begin && p < hole_.end);
    return p >= oldest && (cached || (p >= first_ && p < fresh_end));
  }

 private:
  Position first_;
  Position cache_len_;
  PositionRange hole_;
  Position oldest_;
  Position oldest_of_last_;
  Position end_;
  Position end_of_first_;
};

/// What one query sees.
struct QueryView {
  Position oldest;
  Position fresh_end;
};

__device__ inline QueryView query_view(const AttentionKernelArgs& args,
                                       const PlanItem& item,
                                       int query) {
  const int row = (item.first_query + min(query, item.num_queries - 1)) / args.group;
  return {KeyWindow::oldest_of(args, item.span, row),
          args.fresh_ends[item.span.first_fresh_end + row]};
}

/// Where query i of a span lies in q and out: row, and first column.
struct QueryPlace {
  std::int64_t row;
  int col;
};

__device__ inline QueryPlace query_place(const AttentionKernelArgs& args,
                                         std::int64_t first_row,
                                         int query,
                                         int kv_head) {
  return {first_row + query / args.group,
          (kv_head * args.group + query % args.group) * args.head_dim};
}

/// Queries of an item into panels of kRows rows; rows and columns behind the end become zeros.
/// @param thread  Of kThreads that load them.
template <int kRows, int kDim, int kThreads>
__device__ void load_queries(const AttentionKernelArgs& args,
                             const PlanItem& item,
                             int kv_head,
                             int thread,
                             SharedSpan<Bf16> panels) {
  constexpr int kPieces = kDim / 8;
  constexpr int kStep = kThreads / kPieces;  // queries that are loaded at once
  static_assert(kThreads % kPieces == 0 && kRows % kStep == 0);
  const int col = thread % kPieces * 8;
  // Row and head of a query move on by those of kStep queries: no division for each.
  const int first = item.first_query + thread / kPieces;
  const int row_step = kStep / args.group;
  const int head_step = kStep % args.group;
  int row = first / args.group;
  int head = first % args.group;
  for (int query = thread / kPieces; query < kRows; query += kStep) {
    const bool present = query < item.num_queries;
    const Bf16* from = args.q.row(item.span.first_row + (present ? row : 0)) +
                       (kv_head * args.group + head) * args.head_dim + col;
    load_piece(panels + panel_offset(kRows, query, col), from, present ? args.head_dim - col : 0,
               args.q_aligned);
    row += row_step;
    head += head_step;
    if (head >= args.group) {
      head -= args.group;
      ++row;
    }
  }
}

/// Where a key and its value come from, from a column on.
struct KeySource {
  const Bf16* k;
  const Bf16* v;
  int count;  // columns; 0: no query sees the key
  bool aligned;
};

__device__ inline KeySource key_source(const AttentionKernelArgs& args,
                                       const PlanSpan& span,
                                       const KeyWindow& window,
                                       PageId page,
                                       int kv_head,
                                       Position p,
                                       int col) {
  const int count = args.head_dim - col;
  if (window.is_cached(p)) {
    const int in_page = args.page_shift >= 0 ? p & (args.page_size - 1) : p % args.page_size;
    const std::int64_t slot = std::int64_t{page} * args.page_size + in_page;
    const std::int64_t offset = (slot * args.num_kv_heads + kv_head) * args.head_dim + col;
    return {args.k_pages + offset, args.v_pages + offset, count, args.pages_aligned};
  }
  if (window.is_new(p)) {
    const std::int64_t row = span.first_row + (p - span.first);
    const int offset = kv_head * args.head_dim + col;
    return {args.k.row(row) + offset, args.v.row(row) + offset, count, args.new_aligned};
  }
  return {args.q.data, args.q.data, 0, true};
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
  static_assert(kThreads % kPieces == 0 && kKeys % kStep == 0);
  // Keys of a thread whose page ids are asked for before the first is used.
  constexpr int kBatch = kKeys / kStep % 4 == 0 ? 4 : 1;
  const int col = static_cast<int>(threadIdx.x) % kPieces * 8;
  const int first_key = static_cast<int>(threadIdx.x) / kPieces;
#pragma unroll
  for (int pass = 0; pass < kKeys / kStep; pass += kBatch) {
    PageId pages[kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const Position p = first + first_key + (pass + i) * kStep;
      const int index = args.page_shift >= 0 ? p >> args.page_shift : p / args.page_size;
      pages[i] = window.is_cached(p) ? __ldg(args.page_table + span.first_page + index) : 0;
    }
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int key = first_key + (pass + i) * kStep;
      const KeySource from = key_source(args, span, window, pages[i], kv_head, first + key, col);
      const int offset = panel_offset(kKeys, key, col);
      load_piece(k_panels + offset, from.k, from.count, from.aligned);
      load_piece(v_panels + offset, from.v, from.count, from.aligned);
    }
  }
}

/// First key tile at or behind `tile` that a query sees; `end` if there is none.
template <int kKeys>
__device__ int next_tile(const KeyWindow& window, int tile, int end) {
  while (tile < end && !window.any_of(tile * kKeys, (tile + 1) * kKeys)) ++tile;
  return tile;
}

}  // namespace tessera::kernels::cuda

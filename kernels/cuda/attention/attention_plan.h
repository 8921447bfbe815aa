#pragma once

#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace tessera::kernels::cuda {

// The work of one block_attention call. Rows times the query heads of one KV head are its
// "queries": query i of a span is row i / group with head i % group. A plan does not depend on q,
// k, v, out or the pages' contents: layers with equal windows, heads and page tables share one.

/// Rows of one sequence, of those of AttentionSpan that kernels read.
struct PlanSpan {
  std::int64_t first_row = 0;  ///< Of q, k, v and out.
  Position first = 0;
  std::int32_t cache_len = 0;
  PositionRange hole;
  std::int32_t first_page = 0;       ///< Of AttentionPlan::page_table.
  std::int32_t first_fresh_end = 0;  ///< Of AttentionPlan::fresh_ends.
  bool looks_from_first = false;     ///< Windows of all rows begin with that of the first.
};

/// Work of one CTA for each KV head: some queries of a span over some keys. All that a kernel must
/// know before it asks for the first keys.
struct PlanItem {
  PlanSpan span;
  std::int32_t first_query = 0;
  std::int32_t num_queries = 0;  ///< Up to PlanShape::tile_queries.
  Position end_of_first = 0;     ///< Of the new rows that the row of the first query sees.
  Position end_of_last = 0;      ///< And that of the last.
  Position key_begin = 0;
  Position key_end = 0;             ///< key_begin: the queries see nothing.
  std::int32_t first_partial = -1;  ///< Where the sums of the first query go; -1: they are final.
  /// Of an item beside this one that has the same keys: 1 or -1 away, or 0 for none.
  std::int32_t twin = 0;
};

/// Queries whose sums were made in parts: part i of query j lies at
/// first_partial + i * num_queries + j.
struct MergeItem {
  std::int64_t first_row = 0;  ///< Of the span.
  std::int32_t first_query = 0;
  std::int32_t num_queries = 0;
  std::int32_t first_partial = 0;
  std::int32_t num_parts = 0;
};

/// Queries of one span that share items, and the keys that one of them or more may see.
struct PlanTile {
  std::int32_t span = 0;  ///< Of AttentionArgs::spans.
  std::int32_t first_query = 0;
  std::int32_t num_queries = 0;
  PositionRange keys;
  std::int32_t first_partial = -1;  ///< Of the first part; -1: there is one part.
};

struct AttentionPlan {
  std::vector<PlanItem> items;    ///< Longest first.
  std::vector<MergeItem> merges;  ///< Of the queries in parts.
  std::vector<PageId> page_table;
  std::vector<Position> fresh_ends;  ///< Of each row: end of the new rows that it sees.
  std::int32_t num_partials = 0;     ///< For each KV head.
  std::vector<PlanTile> tiles;       ///< What the items were cut from.
};

/// How a plan cuts the work.
struct PlanShape {
  std::int32_t tile_queries = 64;
  /// > 0: keys are cut at its multiples. 0: they are cut, at multiples of min_part_keys, into as
  /// many parts as keep the GPU busy.
  std::int32_t part_keys = 0;
  std::int32_t min_part_keys = 128;  ///< Whole tiles of every kernel.
  std::int32_t num_slots = 1;        ///< CTAs that run at once.
};

/// Writes the plan of a call over what `plan` had; allocates only where its vectors are too short.
void plan_attention(const AttentionArgs& args, const PlanShape& shape, AttentionPlan& plan);

/// The largest calls that memory is made ready for.
struct AttentionLimits {
  std::int64_t max_rows = 0;       ///< Of all spans.
  std::int64_t max_span_rows = 0;  ///< Of one.
  std::int64_t max_spans = 0;
  std::int64_t max_pages = 0;  ///< Of all positions before the rows of spans, cached or not.
  std::int64_t max_span_pages = 0;
  std::int32_t page_size = 0;
  std::int32_t num_q_heads = 0;
  std::int32_t num_kv_heads = 0;
};

/// Lengths of a plan's arrays, and its num_partials.
struct PlanLengths {
  std::int64_t items = 0;
  std::int64_t merges = 0;
  std::int64_t page_table = 0;
  std::int64_t fresh_ends = 0;
  std::int64_t num_partials = 0;
};

/// What no plan within the limits exceeds.
PlanLengths longest_plan(const AttentionLimits& limits, const PlanShape& shape);

}  // namespace tessera::kernels::cuda

#include "kernels/cuda/attention/attention_plan.h"

#include <algorithm>
#include <limits>

#include "kernels/visibility.h"

namespace tessera::kernels::cuda {
namespace {

// Queries of one span that share a CTA, and the keys that one of them or more may see.
struct QueryTile {
  const AttentionSpan* span = nullptr;
  std::int32_t first_query = 0;
  std::int32_t num_queries = 0;
  PositionRange keys;
};

PositionRange keys_of(const AttentionSpan& span, Position first, Position last, int window) {
  const Visibility low = visibility(span, first, window);
  const Visibility high = visibility(span, last, window);
  const PositionRange fresh{low.fresh.begin, high.fresh.end};
  if (fresh.empty()) return low.cached.empty() ? PositionRange{} : low.cached;
  if (low.cached.empty()) return fresh;
  return {low.cached.begin, fresh.end};
}

std::vector<QueryTile> query_tiles(const AttentionArgs& args, std::int32_t tile_queries) {
  const std::int32_t group = args.num_q_heads / args.pages.num_kv_heads;
  std::vector<QueryTile> tiles;
  for (const AttentionSpan& span : args.spans) {
    const std::int32_t num_queries = span.num_rows * group;
    for (std::int32_t query = 0; query < num_queries; query += tile_queries) {
      const std::int32_t count = std::min(tile_queries, num_queries - query);
      tiles.push_back({&span, query, count,
                       keys_of(span, span.first + query / group,
                               span.first + (query + count - 1) / group, args.window)});
    }
  }
  return tiles;
}

// What a CTA costs besides its keys, and what merging costs, in keys that are read meanwhile.
constexpr std::int64_t kItemCost = 96;
constexpr std::int64_t kMergeCost = 192;

std::int64_t cost_of(const std::vector<QueryTile>& tiles,
                     std::int64_t part_keys,
                     std::int64_t num_heads,
                     std::int64_t num_slots) {
  std::int64_t num_items = 0;
  std::int64_t num_keys = 0;
  for (const QueryTile& tile : tiles) {
    num_items += std::max<std::int64_t>(1, (tile.keys.size() + part_keys / 2) / part_keys);
    num_keys += tile.keys.size() + kItemCost;
  }
  const std::int64_t waves = (num_items * num_heads + num_slots - 1) / num_slots;
  return std::max(waves * (part_keys + kItemCost), num_keys * num_heads / num_slots);
}

std::int32_t choose_part_keys(const std::vector<QueryTile>& tiles,
                              const PlanShape& shape,
                              std::int64_t num_heads) {
  std::int32_t longest = 1;
  for (const QueryTile& tile : tiles) longest = std::max(longest, tile.keys.size());
  constexpr std::int32_t kWhole = 1 << 30;
  const auto num_items = static_cast<std::int64_t>(tiles.size()) * num_heads;
  if (num_items >= 4 * std::int64_t{shape.num_slots}) return kWhole;
  std::int32_t best = kWhole;
  std::int64_t best_cost = cost_of(tiles, longest, num_heads, shape.num_slots);
  for (std::int32_t parts = 2; parts <= 2 * shape.num_slots; ++parts) {
    const std::int32_t step = shape.min_part_keys;
    const std::int32_t keys = ((longest + parts - 1) / parts + step - 1) / step * step;
    if (keys >= longest) continue;
    const std::int64_t cost = cost_of(tiles, keys, num_heads, shape.num_slots) + kMergeCost;
    if (cost < best_cost) {
      best = keys;
      best_cost = cost;
    }
    if (keys == step) break;
  }
  return best;
}

// Cuts tiles of one span, whose parts over the same keys stay together: they share K and V in L2.
void cut_tiles(std::span<const QueryTile> tiles,
               const PlanSpan& span,
               std::int32_t group,
               std::int32_t part_keys,
               AttentionPlan& plan) {
  std::vector<std::int32_t> first_partials;
  std::int32_t first_part = std::numeric_limits<std::int32_t>::max();
  std::int32_t end_part = 0;
  const auto begin_of = [&](const QueryTile& tile) { return tile.keys.begin / part_keys; };
  const auto end_of = [&](const QueryTile& tile) {
    return std::max(begin_of(tile) + 1, (tile.keys.end - 1) / part_keys + 1);
  };
  for (const QueryTile& tile : tiles) {
    const std::int32_t num_parts = end_of(tile) - begin_of(tile);
    first_part = std::min(first_part, begin_of(tile));
    end_part = std::max(end_part, end_of(tile));
    first_partials.push_back(num_parts > 1 ? plan.num_partials : -1);
    if (num_parts == 1) continue;
    plan.merges.push_back(
        {span.first_row, tile.first_query, tile.num_queries, plan.num_partials, num_parts});
    plan.num_partials += num_parts * tile.num_queries;
  }
  for (std::int32_t part = first_part; part < end_part; ++part) {
    const std::int64_t part_begin = std::int64_t{part} * part_keys;
    for (std::size_t i = 0; i < tiles.size(); ++i) {
      const QueryTile& tile = tiles[i];
      if (part < begin_of(tile) || part >= end_of(tile)) continue;
      const auto begin = static_cast<Position>(std::max<std::int64_t>(tile.keys.begin, part_begin));
      const auto end =
          static_cast<Position>(std::min<std::int64_t>(tile.keys.end, part_begin + part_keys));
      const std::int32_t base = first_partials[i];
      const std::int32_t partial =
          base < 0 ? -1 : base + (part - begin_of(tile)) * tile.num_queries;
      const std::int32_t last_query = tile.first_query + tile.num_queries - 1;
      const auto end_of_row = [&](std::int32_t query) {
        return plan.fresh_ends[static_cast<std::size_t>(span.first_fresh_end + query / group)];
      };
      plan.items.push_back({span, tile.first_query, tile.num_queries, end_of_row(tile.first_query),
                            end_of_row(last_query), begin, end, partial});
    }
  }
}

// Adds what a span has in arrays.
PlanSpan add_span(const AttentionSpan& span, std::int32_t page_size, AttentionPlan& plan) {
  const PlanSpan added = {span.first_row,
                          span.first,
                          span.cache_len,
                          span.cache_hole,
                          static_cast<std::int32_t>(plan.page_table.size()),
                          static_cast<std::int32_t>(plan.fresh_ends.size()),
                          span.mask == MaskKind::kFull};
  const auto num_pages =
      static_cast<std::size_t>((std::int64_t{span.cache_len} + page_size - 1) / page_size);
  const auto pages = span.page_table.first(num_pages);
  plan.page_table.insert(plan.page_table.end(), pages.begin(), pages.end());
  for (Position i = span.first; i < span.first + span.num_rows; ++i) {
    plan.fresh_ends.push_back(fresh_end(span, i));
  }
  return added;
}

}  // namespace

AttentionPlan plan_attention(const AttentionArgs& args, const PlanShape& shape) {
  AttentionPlan plan;
  const std::vector<QueryTile> tiles = query_tiles(args, shape.tile_queries);
  const std::int32_t part_keys = shape.part_keys > 0
                                     ? shape.part_keys
                                     : choose_part_keys(tiles, shape, args.pages.num_kv_heads);
  for (auto tile = tiles.begin(); tile != tiles.end();) {
    const auto end = std::find_if(tile, tiles.end(),
                                  [&](const QueryTile& other) { return other.span != tile->span; });
    cut_tiles({tile, end}, add_span(*tile->span, args.pages.page_size, plan),
              args.num_q_heads / args.pages.num_kv_heads, part_keys, plan);
    tile = end;
  }
  std::stable_sort(plan.items.begin(), plan.items.end(), [](const PlanItem& a, const PlanItem& b) {
    return a.key_end - a.key_begin > b.key_end - b.key_begin;
  });
  return plan;
}

}  // namespace tessera::kernels::cuda

#include "kernels/cuda/attention/attention_plan.h"

#include <algorithm>
#include <limits>
#include <tuple>

#include "kernels/visibility.h"

namespace tessera::kernels::cuda {
namespace {

PositionRange keys_of(const AttentionSpan& span, Position first, Position last, int window) {
  const Visibility low = visibility(span, first, window);
  const Visibility high = visibility(span, last, window);
  const PositionRange fresh{low.fresh.begin, high.fresh.end};
  if (fresh.empty()) return low.cached.empty() ? PositionRange{} : low.cached;
  if (low.cached.empty()) return fresh;
  return {low.cached.begin, fresh.end};
}

void add_tiles(const AttentionArgs& args, std::int32_t tile_queries, std::vector<PlanTile>& tiles) {
  const std::int32_t group = args.num_q_heads / args.pages.num_kv_heads;
  for (std::size_t i = 0; i < args.spans.size(); ++i) {
    const AttentionSpan& span = args.spans[i];
    const std::int32_t num_queries = span.num_rows * group;
    for (std::int32_t query = 0; query < num_queries; query += tile_queries) {
      const std::int32_t count = std::min(tile_queries, num_queries - query);
      tiles.push_back({static_cast<std::int32_t>(i), query, count,
                       keys_of(span, span.first + query / group,
                               span.first + (query + count - 1) / group, args.window)});
    }
  }
}

// Parts of a tile lie between multiples of part_keys.
std::int32_t first_part(const PlanTile& tile, std::int32_t part_keys) {
  return tile.keys.begin / part_keys;
}
std::int32_t end_part(const PlanTile& tile, std::int32_t part_keys) {
  return std::max(first_part(tile, part_keys) + 1, (tile.keys.end - 1) / part_keys + 1);
}

// What a CTA costs besides its keys, and what merging costs, in keys that are read meanwhile when
// all slots read: measured on an H100. Keys of a CTA cost less while few others read.
constexpr std::int64_t kItemCost = 320;
constexpr std::int64_t kMergeCost = 512;
constexpr std::int64_t kLeastKeyPercent = 75;

// A choice of part_keys.
struct Cut {
  std::int64_t cost = 0;
  std::int64_t num_items = 0;
};

Cut cut_of(std::span<const PlanTile> tiles,
           std::int32_t part_keys,
           std::int64_t num_heads,
           std::int64_t num_slots) {
  std::int64_t num_items = 0;
  std::int64_t num_keys = 0;
  for (const PlanTile& tile : tiles) {
    num_items += end_part(tile, part_keys) - first_part(tile, part_keys);
    num_keys += tile.keys.size() + kItemCost;
  }
  const std::int64_t work = num_items * num_heads;
  const std::int64_t waves = (work + num_slots - 1) / num_slots;
  const std::int64_t percent =
      std::clamp<std::int64_t>(work * 100 / num_slots, kLeastKeyPercent, 100);
  return {std::max(waves * (part_keys * percent / 100 + kItemCost),
                   num_keys * num_heads * percent / 100 / num_slots),
          num_items};
}

// Items that cutting may add, so that partial sums have a bound.
std::int64_t most_cuts(const PlanShape& shape, std::int64_t num_heads) {
  return (2 * std::int64_t{shape.num_slots} + num_heads - 1) / num_heads;
}

constexpr std::int32_t kWhole = 1 << 30;

std::int32_t choose_part_keys(std::span<const PlanTile> tiles,
                              const PlanShape& shape,
                              std::int64_t num_heads) {
  std::int32_t longest = 1;
  for (const PlanTile& tile : tiles) longest = std::max(longest, tile.keys.size());
  const auto num_tiles = static_cast<std::int64_t>(tiles.size());
  const std::int64_t most_items = num_tiles + most_cuts(shape, num_heads);
  std::int32_t best = kWhole;
  std::int64_t best_cost = cut_of(tiles, longest, num_heads, shape.num_slots).cost;
  const std::int32_t step = shape.min_part_keys;
  // Every number of parts while there are few, then some: planning takes time, too.
  for (std::int32_t parts = 2; parts <= 2 * shape.num_slots; parts += 1 + parts / 8) {
    const std::int32_t keys = ((longest + parts - 1) / parts + step - 1) / step * step;
    if (keys >= longest) continue;
    const Cut cut = cut_of(tiles, keys, num_heads, shape.num_slots);
    if (cut.num_items > most_items) break;
    if (cut.cost + kMergeCost < best_cost) {
      best = keys;
      best_cost = cut.cost + kMergeCost;
    }
    if (keys == step) break;
  }
  return best;
}

// Cuts tiles of one span, whose parts over the same keys stay together: they share K and V in L2.
void cut_tiles(std::span<PlanTile> tiles,
               const PlanSpan& span,
               std::int32_t group,
               std::int32_t part_keys,
               AttentionPlan& plan) {
  std::int32_t first = std::numeric_limits<std::int32_t>::max();
  std::int32_t end = 0;
  for (PlanTile& tile : tiles) {
    const std::int32_t num_parts = end_part(tile, part_keys) - first_part(tile, part_keys);
    first = std::min(first, first_part(tile, part_keys));
    end = std::max(end, end_part(tile, part_keys));
    if (num_parts == 1) continue;
    tile.first_partial = plan.num_partials;
    plan.merges.push_back(
        {span.first_row, tile.first_query, tile.num_queries, plan.num_partials, num_parts});
    plan.num_partials += num_parts * tile.num_queries;
  }
  const auto end_of_query = [&](std::int32_t query) {
    return plan.fresh_ends[static_cast<std::size_t>(span.first_fresh_end + query / group)];
  };
  for (std::int32_t part = first; part < end; ++part) {
    const std::int64_t part_begin = std::int64_t{part} * part_keys;
    for (const PlanTile& tile : tiles) {
      const std::int32_t part_of_tile = part - first_part(tile, part_keys);
      if (part_of_tile < 0 || part >= end_part(tile, part_keys)) continue;
      const std::int32_t partial =
          tile.first_partial < 0 ? -1 : tile.first_partial + part_of_tile * tile.num_queries;
      plan.items.push_back(
          {span, tile.first_query, tile.num_queries, end_of_query(tile.first_query),
           end_of_query(tile.first_query + tile.num_queries - 1),
           static_cast<Position>(std::max<std::int64_t>(tile.keys.begin, part_begin)),
           static_cast<Position>(std::min<std::int64_t>(tile.keys.end, part_begin + part_keys)),
           partial, /*twin=*/0});
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

void plan_attention(const AttentionArgs& args, const PlanShape& shape, AttentionPlan& plan) {
  plan.items.clear();
  plan.merges.clear();
  plan.page_table.clear();
  plan.fresh_ends.clear();
  plan.num_partials = 0;
  plan.tiles.clear();
  add_tiles(args, shape.tile_queries, plan.tiles);
  const std::int32_t part_keys = shape.part_keys > 0
                                     ? shape.part_keys
                                     : choose_part_keys(plan.tiles, shape, args.pages.num_kv_heads);
  for (auto tile = plan.tiles.begin(); tile != plan.tiles.end();) {
    const auto end = std::find_if(tile, plan.tiles.end(),
                                  [&](const PlanTile& other) { return other.span != tile->span; });
    const AttentionSpan& span = args.spans[static_cast<std::size_t>(tile->span)];
    cut_tiles({tile, end}, add_span(span, args.pages.page_size, plan),
              args.num_q_heads / args.pages.num_kv_heads, part_keys, plan);
    tile = end;
  }
  // Equals stay as they were: neighbours share keys.
  std::sort(plan.items.begin(), plan.items.end(), [](const PlanItem& a, const PlanItem& b) {
    const auto key = [](const PlanItem& item) {
      return std::tuple(item.key_begin - item.key_end, item.span.first_row, item.key_begin,
                        item.first_query);
    };
    return key(a) < key(b);
  });
  for (std::size_t i = 1; i < plan.items.size(); ++i) {
    PlanItem& one = plan.items[i - 1];
    PlanItem& other = plan.items[i];
    const bool same = one.span.first_row == other.span.first_row &&
                      one.key_begin == other.key_begin && one.key_end == other.key_end;
    if (!same || one.twin != 0) continue;
    one.twin = 1;
    other.twin = -1;
  }
}

PlanLengths longest_plan(const AttentionLimits& limits, const PlanShape& shape) {
  const std::int64_t group = limits.num_q_heads / limits.num_kv_heads;
  const auto tiles_of = [&](std::int64_t rows, std::int64_t spans) {
    return rows * group / shape.tile_queries + spans;
  };
  const std::int64_t num_tiles = tiles_of(limits.max_rows, limits.max_spans);
  PlanLengths longest = {.items = num_tiles,
                         .merges = num_tiles,
                         .page_table = limits.max_pages,
                         .fresh_ends = limits.max_rows};
  if (shape.part_keys > 0) {
    // Parts of spans whose cached keys and rows lie at the ends of parts.
    const auto parts_of = [&](std::int64_t pages, std::int64_t rows, std::int64_t spans) {
      return (pages * limits.page_size + rows) / shape.part_keys + 2 * spans;
    };
    const std::int64_t by_tiles =
        num_tiles * parts_of(limits.max_span_pages, limits.max_span_rows, 1);
    const std::int64_t by_spans = tiles_of(limits.max_span_rows, 1) *
                                  parts_of(limits.max_pages, limits.max_rows, limits.max_spans);
    longest.items = std::min(by_tiles, by_spans);
    longest.num_partials = longest.items * shape.tile_queries;
  } else {
    const std::int64_t cuts = most_cuts(shape, limits.num_kv_heads);
    longest.items = num_tiles + cuts;
    longest.merges = std::min(num_tiles, cuts);
    // Of a tile that is cut n times, n + 1 parts.
    longest.num_partials = (cuts + longest.merges) * shape.tile_queries;
  }
  return longest;
}

}  // namespace tessera::kernels::cuda

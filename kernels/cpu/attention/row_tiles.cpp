#include "kernels/cpu/attention/row_tiles.h"

#include <algorithm>

#include "kernels/visibility.h"

namespace tessera::kernels {
namespace {

// Measured in the time that one query takes over one key: packing a key for a tile, and the work
// per query that does not depend on the keys.
constexpr std::int64_t kPackWeight = 4;
constexpr std::int64_t kRowWeight = 32;

// Of one row and KV head.
std::int64_t row_weight(const AttentionArgs& args, const AttentionSpan& span, std::int32_t row) {
  const Visibility sees = visibility(span, span.first + row, args.window);
  const std::int64_t keys = std::max(0, sees.cached.size()) + std::max(0, sees.fresh.size());
  const std::int64_t group = args.num_q_heads / args.pages.num_kv_heads;
  const std::int64_t tile_rows =
      std::min(span.num_rows, max_tile_rows(static_cast<std::int32_t>(group)));
  return (keys + kRowWeight) * (group * tile_rows + kPackWeight) / tile_rows;
}

std::int64_t head_weight(const AttentionArgs& args, const AttentionSpan& span) {
  std::int64_t sum = 0;
  for (std::int32_t row = 0; row < span.num_rows; ++row) sum += row_weight(args, span, row);
  return sum;
}

}  // namespace

std::int32_t max_tile_rows(std::int32_t group) {
  return std::max(1, kMaxTileQueries / group);
}

RowTiles::RowTiles(const AttentionArgs& args, std::int32_t part, std::int32_t num_parts)
    : args_(args), max_rows_(max_tile_rows(args.num_q_heads / args.pages.num_kv_heads)) {
  std::int64_t total = 0;
  for (const AttentionSpan& span : args.spans) total += head_weight(args, span);
  total *= args.pages.num_kv_heads;
  begin_ = total * part / num_parts;
  end_ = total * (part + 1) / num_parts;
}

bool RowTiles::next(RowTile& tile) {
  while (row_ == end_row_) {
    if (!next_head()) return false;
    find_rows();
  }
  // Equal tiles: a short last one would pay for its packing alone.
  const std::int32_t rows = end_row_ - row_;
  const std::int32_t tiles = (rows + max_rows_ - 1) / max_rows_;
  tile = {&args_.spans[span_], kv_head_, row_, (rows + tiles - 1) / tiles};
  row_ += tile.num_rows;
  return true;
}

bool RowTiles::next_head() {
  if (kv_head_ >= 0) base_ += weight_;
  if (kv_head_ < 0 || ++kv_head_ == args_.pages.num_kv_heads) {
    if (kv_head_ > 0) ++span_;
    kv_head_ = 0;
    if (span_ < args_.spans.size()) weight_ = head_weight(args_, args_.spans[span_]);
  }
  return span_ < args_.spans.size() && base_ < end_;
}

// A row belongs to the part in whose share its weight begins.
void RowTiles::find_rows() {
  row_ = end_row_ = 0;
  if (base_ + weight_ <= begin_) return;
  const AttentionSpan& span = args_.spans[span_];
  std::int64_t at = base_;
  std::int32_t row = 0;
  for (; row < span.num_rows && at < begin_; ++row) at += row_weight(args_, span, row);
  row_ = row;
  for (; row < span.num_rows && at < end_; ++row) at += row_weight(args_, span, row);
  end_row_ = row;
}

}  // namespace tessera::kernels

#include "kernels/cpu/attention/key_tiles.h"

#include <algorithm>
#include <bit>
#include <limits>

namespace tessera::kernels {
namespace {

alignas(64) constexpr std::array<std::uint16_t, 512> kZeros{};  // head_dim at most

// Bits of the positions of `range` in the tile that begins at `tile_begin`.
std::uint64_t bits_of(const PositionRange& range, Position tile_begin) {
  const std::int32_t begin = std::clamp(range.begin - tile_begin, 0, kTileKeys);
  const std::int32_t end = std::clamp(range.end - tile_begin, 0, kTileKeys);
  if (begin >= end) return 0;
  return (~std::uint64_t{0} >> (kTileKeys - (end - begin))) << begin;
}

}  // namespace

KeyTiles::KeyTiles(const AttentionArgs& args, std::int32_t part, std::int32_t num_parts)
    : args_(args), row_tiles_(args, part, num_parts) {}

bool KeyTiles::next(KeyTile& tile) {
  tile.starts_rows = false;
  if (rows_.num_rows == 0 || !find_tile(tile)) {
    if (!next_rows()) return false;
    tile.starts_rows = true;
    if (!find_tile(tile)) tile.first_group = tile.end_group = 0;
  }
  tile.rows = rows_;
  return true;
}

bool KeyTiles::next_rows() {
  if (!row_tiles_.next(rows_)) return false;
  Position begin = std::numeric_limits<Position>::max();
  end_ = 0;
  for (std::int32_t i = 0; i < rows_.num_rows; ++i) {
    const Visibility sees =
        visibility(*rows_.span, rows_.span->first + rows_.first_row + i, args_.window);
    sees_[static_cast<std::size_t>(i)] = sees;
    for (const PositionRange& range : {sees.cached, sees.fresh}) {
      if (range.empty()) continue;
      begin = std::min(begin, range.begin);
      end_ = std::max(end_, range.end);
    }
  }
  at_ = begin / kTileKeys * kTileKeys;
  return true;
}

bool KeyTiles::find_tile(KeyTile& tile) {
  for (; at_ < end_; at_ += kTileKeys) {
    const std::uint64_t seen = find_visible(tile);
    if (seen == 0) continue;
    tile.first_group = std::countr_zero(seen) / kGroupKeys;
    tile.end_group = (kTileKeys - 1 - std::countl_zero(seen)) / kGroupKeys + 1;
    find_keys(tile, seen);
    at_ += kTileKeys;
    return true;
  }
  return false;
}

// Returns the keys that any row sees.
std::uint64_t KeyTiles::find_visible(KeyTile& tile) const {
  std::uint64_t seen = 0;
  for (std::int32_t i = 0; i < rows_.num_rows; ++i) {
    const Visibility& sees = sees_[static_cast<std::size_t>(i)];
    const std::uint64_t bits =
        (bits_of(sees.cached, at_) & ~bits_of(sees.hole, at_)) | bits_of(sees.fresh, at_);
    tile.sees[static_cast<std::size_t>(i)] = bits;
    seen |= bits;
  }
  return seen;
}

void KeyTiles::find_keys(KeyTile& tile, std::uint64_t seen) const {
  const AttentionSpan& span = *rows_.span;
  const std::int64_t head = std::int64_t{rows_.kv_head} * args_.pages.head_dim;
  std::int32_t j = find_cached(tile, std::min(kTileKeys, span.cache_len - at_));
  for (; j < kTileKeys; ++j) {
    const auto i = static_cast<std::size_t>(j);
    const std::int64_t row = span.first_row + (at_ + j - span.first);
    tile.k[i] = static_cast<const std::uint16_t*>(args_.k.row(row)) + head;
    tile.v[i] = static_cast<const std::uint16_t*>(args_.v.row(row)) + head;
  }
  for (std::uint64_t hidden = ~seen; hidden != 0; hidden &= hidden - 1) {
    const auto i = static_cast<std::size_t>(std::countr_zero(hidden));
    tile.k[i] = tile.v[i] = kZeros.data();
  }
}

// Keys [0, count) of the tile, page by page. Returns how many there are.
std::int32_t KeyTiles::find_cached(KeyTile& tile, std::int32_t count) const {
  const KvPages& pages = args_.pages;
  const std::int64_t head = std::int64_t{rows_.kv_head} * pages.head_dim;
  const std::int64_t slot_elements = std::int64_t{pages.num_kv_heads} * pages.head_dim;
  auto entry = static_cast<std::size_t>(at_ / pages.page_size);
  std::int32_t offset = at_ % pages.page_size;
  std::int32_t j = 0;
  for (; j < count; offset = 0, ++entry) {
    const std::int64_t slot =
        std::int64_t{rows_.span->page_table[entry]} * pages.page_size + offset;
    const auto* k = static_cast<const std::uint16_t*>(pages.k) + slot * slot_elements + head;
    const auto* v = static_cast<const std::uint16_t*>(pages.v) + slot * slot_elements + head;
    const std::int32_t end = std::min(count, j + pages.page_size - offset);
    for (; j < end; ++j, k += slot_elements, v += slot_elements) {
      tile.k[static_cast<std::size_t>(j)] = k;
      tile.v[static_cast<std::size_t>(j)] = v;
    }
  }
  return j;
}

}  // namespace tessera::kernels

#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/attention/row_tiles.h"
#include "kernels/visibility.h"

namespace tessera::kernels {

/// Keys of a tile: positions [64 i, 64 i + 64), whatever their source.
inline constexpr std::int32_t kTileKeys = 64;
/// Parts of a tile that are skipped when no row sees a key of theirs.
inline constexpr std::int32_t kGroupKeys = 16;

/// One key tile as the rows of a row tile see it.
struct KeyTile {
  RowTile rows;
  bool starts_rows = false;  ///< It is the first of its row tile.
  /// K and V of the KV head, [head_dim] bf16 each; zeros where no row sees the key: what is stored
  /// there may be anything, NaN as well.
  std::array<const std::uint16_t*, kTileKeys> k;
  std::array<const std::uint16_t*, kTileKeys> v;
  std::array<std::uint64_t, kMaxTileQueries> sees;  ///< Of each row: bit j for key j.
  /// Groups [first_group, end_group) hold all keys that are seen.
  std::int32_t first_group = 0;
  std::int32_t end_group = 0;
};

/// The key tiles of one share of the work, row tile by row tile, ascending, without those that no
/// row sees. A row tile that sees nothing has one tile, without groups.
class KeyTiles {
 public:
  /// `args` must outlive this.
  KeyTiles(const AttentionArgs& args, std::int32_t part, std::int32_t num_parts);

  /// False at the end.
  bool next(KeyTile& tile);

 private:
  bool next_rows();
  bool find_tile(KeyTile& tile);
  std::uint64_t find_visible(KeyTile& tile) const;
  void find_keys(KeyTile& tile, std::uint64_t seen) const;
  std::int32_t find_cached(KeyTile& tile, std::int32_t count) const;

  const AttentionArgs& args_;
  RowTiles row_tiles_;
  RowTile rows_;
  std::array<Visibility, kMaxTileQueries> sees_;  // of each row
  Position at_ = 0;                               // first position of the next tile
  Position end_ = 0;                              // beyond what any row sees
};

}  // namespace tessera::kernels

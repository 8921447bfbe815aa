#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ops.h"

namespace tessera::kernels {

/// Query rows (rows times query heads of one KV head) that share a pass over K and V: enough to
/// hide packing a key tile, few enough that their fp32 outputs stay in L2.
inline constexpr std::int32_t kMaxTileQueries = 128;

/// Rows of one span that attend together, with all query heads of one KV head.
struct RowTile {
  const AttentionSpan* span = nullptr;
  std::int32_t kv_head = 0;
  std::int32_t first_row = 0;  ///< Of the span.
  std::int32_t num_rows = 0;   ///< 1 to max_tile_rows(group).
};

/// @param group  query heads per KV head
std::int32_t max_tile_rows(std::int32_t group);

/// The row tiles of one share of the work. The rows of all spans and KV heads, in this order, are
/// weighed by the keys that they see and cut into num_parts runs of equal weight; a run is cut into
/// tiles.
class RowTiles {
 public:
  /// `args` must outlive this.
  RowTiles(const AttentionArgs& args, std::int32_t part, std::int32_t num_parts);

  /// False at the end.
  bool next(RowTile& tile);

 private:
  bool next_head();
  void find_rows();

  const AttentionArgs& args_;
  std::int32_t max_rows_;
  std::int64_t begin_ = 0;  // this part's share of the total weight
  std::int64_t end_ = 0;

  std::size_t span_ = 0;       // where we are
  std::int32_t kv_head_ = -1;  // -1: before the first
  std::int64_t base_ = 0;      // weight of all that lies before this span and KV head
  std::int64_t weight_ = 0;    // of this span and KV head
  std::int32_t row_ = 0;       // rows [row_, end_row_) of it are still to be handed out
  std::int32_t end_row_ = 0;
};

}  // namespace tessera::kernels

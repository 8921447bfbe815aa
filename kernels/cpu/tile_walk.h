#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"

namespace tessera::kernels {

/// Cuts rows x panels of a product into tiles and puts them in the order of one stream of
/// weights: tile i is row block i % num_blocks() of panel i / num_blocks().
class TileWalk {
 public:
  TileWalk(const CpuMatrix& matrix, std::int64_t num_rows)
      : matrix_(matrix),
        num_rows_(num_rows),
        num_blocks_(round_up(num_rows, kTileRows) / kTileRows) {}

  std::int64_t num_blocks() const { return num_blocks_; }
  std::int64_t num_tiles() const { return matrix_.num_panels() * num_blocks_; }

  struct Tile {
    std::int64_t panel = 0;
    std::int64_t first_row = 0;  ///< of the activations
    std::int64_t num_rows = 0;   ///< 1 to kTileRows
  };

  /// Multiplies tiles [begin, end) of `a` with the matrix, in order. Per tile, calls
  /// place(tile, args) to set c and c_stride, and done(tile, args) afterwards.
  template <typename Place, typename Done>
  void run(const CpuKernels& kernels,
           const ConstMatrixView& a,
           std::int64_t begin,
           std::int64_t end,
           const Place& place,
           const Done& done) const {
    for (std::int64_t index = begin; index < end; ++index) {
      const Tile tile = tile_at(index);
      TileArgs args;
      args.a = static_cast<const std::byte*>(a.row(tile.first_row));
      args.a_stride_bytes = a.row_stride * 2;
      args.rows = tile.num_rows;
      args.weights = matrix_.panel(tile.panel);
      args.leaves = matrix_.shape().k_leaves;
      args.leaf_pairs = matrix_.shape().cols / args.leaves / 2;
      args.width = matrix_.width(tile.panel);
      set_fetch(index, begin, end, args);
      place(tile, args);
      kernels.product_tile(args);
      done(tile, args);
    }
  }

 private:
  Tile tile_at(std::int64_t index) const {
    const std::int64_t block = index % num_blocks_;
    const std::int64_t first = num_rows_ * block / num_blocks_;
    return {index / num_blocks_, first, num_rows_ * (block + 1) / num_blocks_ - first};
  }

  // Weights are read from memory once, by the first row block of a panel. So that it finds them in
  // L2, the blocks of the panel before fetch a part each. A single block is one long stream, at
  // which the processor's own prefetching is faster (31 against 22 GB/s of one thread).
  void set_fetch(std::int64_t index, std::int64_t begin, std::int64_t end, TileArgs& args) const {
    const std::int64_t panel_begin = index - index % num_blocks_;
    if (num_blocks_ == 1 || index == begin || panel_begin + num_blocks_ >= end) {
      args.fetch = args.weights;  // nothing but what is read anyway
      args.pairs_per_fetch = matrix_.shape().cols;
      return;
    }
    const std::int64_t first = std::max(panel_begin, begin + 1);
    args.pairs_per_fetch = panel_begin + num_blocks_ - first;
    const std::int64_t num_fetches = matrix_.shape().cols / 2 / args.pairs_per_fetch;
    args.fetch = args.weights + matrix_.panel_bytes() + (index - first) * num_fetches * 256;
  }

  const CpuMatrix& matrix_;
  std::int64_t num_rows_;
  std::int64_t num_blocks_;
};

/// [begin, end) of `count` pieces of work that belong to `part` of `num_parts`.
struct Share {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  Share(std::int64_t count, std::int32_t part, std::int32_t num_parts)
      : begin(count * part / num_parts), end(count * (part + 1) / num_parts) {}
};

}  // namespace tessera::kernels

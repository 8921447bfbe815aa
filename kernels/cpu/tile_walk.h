#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"

namespace tessera::kernels {

/// Cuts rows x panels of a product into tiles and puts them in the order of one stream of
/// weights: tile i is row block i % num_blocks() of panel i / num_blocks().
///
/// The row blocks of a panel (up to 16: a group) go along K together, in steps of 64 or 128 KB of
/// weights: the first block reads the weights of a step, the others find them in the caches, and
/// all of them fetch those of the next step, so that memory and arithmetic are busy all the time.
class TileWalk {
 public:
  TileWalk(const CpuMatrix& matrix, std::int64_t num_rows)
      : matrix_(matrix),
        num_rows_(num_rows),
        num_blocks_(round_up(num_rows, kTileRows) / kTileRows),
        leaf_pairs_(matrix.shape().cols / matrix.shape().k_leaves / 2),
        steps_per_leaf_(count_steps(num_blocks_, leaf_pairs_)) {}

  std::int64_t num_blocks() const { return num_blocks_; }
  std::int64_t num_tiles() const { return matrix_.num_panels() * num_blocks_; }

  struct Tile {
    std::int64_t panel = 0;
    std::int64_t first_row = 0;  ///< of the activations
    std::int64_t num_rows = 0;   ///< 1 to kTileRows
  };

  /// Multiplies tiles [begin, end) of `a` with the matrix, in order. Per tile, calls
  /// place(tile, args) to set c and c_stride, and done(tile, args) when they hold the product.
  template <typename Place, typename Done>
  void run(const CpuKernels& kernels,
           const ConstMatrixView& a,
           std::int64_t begin,
           std::int64_t end,
           const Place& place,
           const Done& done) const {
    TileState states[kGroupBlocks];
    for (Group group{begin, begin}; group.begin < end; group.begin = group.end) {
      const std::int64_t panel_end = (group.begin / num_blocks_ + 1) * num_blocks_;
      group.end = std::min({end, panel_end, group.begin + kGroupBlocks});
      for (std::int64_t step = 0; step < num_steps(); ++step) {
        for (std::int64_t index = group.begin; index < group.end; ++index) {
          const Tile tile = tile_at(index);
          TileArgs args = step_of(tile, step, a);
          args.state = &states[index - group.begin];
          set_fetch(group, index, end, args);
          place(tile, args);
          kernels.product_tile(args);
          if (args.ends_product) done(tile, args);
        }
      }
    }
  }

 private:
  static constexpr std::int64_t kGroupBlocks = 16;
  static constexpr std::int64_t kPairBytes = kPanelWidth * 4;

  struct Group {
    std::int64_t begin = 0;
    std::int64_t end = 0;
  };

  // Nothing hides the memory that the first step of a share waits for: steps are short where few
  // row blocks keep memory busy. A single block is one stream in any case.
  static std::int64_t count_steps(std::int64_t num_blocks, std::int64_t leaf_pairs) {
    if (num_blocks == 1 || leaf_pairs == 0) return 1;
    const std::int64_t step_pairs = num_blocks <= 8 ? 256 : 512;
    return round_up(leaf_pairs, step_pairs) / step_pairs;
  }

  std::int64_t num_steps() const { return matrix_.shape().k_leaves * steps_per_leaf_; }

  // First pair of a step, from the start of the panel.
  std::int64_t pair_of(std::int64_t step) const {
    return step / steps_per_leaf_ * leaf_pairs_ +
           leaf_pairs_ * (step % steps_per_leaf_) / steps_per_leaf_;
  }

  Tile tile_at(std::int64_t index) const {
    const std::int64_t block = index % num_blocks_;
    const std::int64_t first = num_rows_ * block / num_blocks_;
    return {index / num_blocks_, first, num_rows_ * (block + 1) / num_blocks_ - first};
  }

  TileArgs step_of(const Tile& tile, std::int64_t step, const ConstMatrixView& a) const {
    const std::int64_t pair = pair_of(step);
    TileArgs args;
    args.a = static_cast<const std::byte*>(a.row(tile.first_row)) + pair * 4;
    args.a_stride_bytes = a.row_stride * 2;
    args.rows = tile.num_rows;
    args.weights = matrix_.panel(tile.panel) + pair * kPairBytes;
    args.num_pairs = pair_of(step + 1) - pair;
    args.leaf = static_cast<std::int32_t>(step / steps_per_leaf_);
    args.begins_leaf = step % steps_per_leaf_ == 0;
    args.ends_leaf = (step + 1) % steps_per_leaf_ == 0;
    args.ends_product = step + 1 == num_steps();
    args.width = matrix_.width(tile.panel);
    return args;
  }

  // The blocks of a group fetch a part each of the next step. A group of one block leaves it to the
  // processor, whose own prefetching of a stream is faster (31 against 22 GB/s of one thread).
  void set_fetch(const Group& group, std::int64_t index, std::int64_t end, TileArgs& args) const {
    const std::int64_t num_blocks = group.end - group.begin;
    if (num_blocks == 1 || (args.ends_product && group.end == end)) {
      args.fetch = args.weights;  // nothing but what is read anyway
      args.pairs_per_fetch = std::max<std::int64_t>(1, args.num_pairs);
      return;
    }
    const std::byte* next = args.ends_product ? matrix_.panel(group.end / num_blocks_)
                                              : args.weights + args.num_pairs * kPairBytes;
    args.fetch = next + args.num_pairs * (index - group.begin) / num_blocks * kPairBytes;
    args.pairs_per_fetch = num_blocks;
  }

  const CpuMatrix& matrix_;
  std::int64_t num_rows_;
  std::int64_t num_blocks_;
  std::int64_t leaf_pairs_;
  std::int64_t steps_per_leaf_;
};

/// [begin, end) of `count` pieces of work that belong to `part` of `num_parts`.
struct Share {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  Share(std::int64_t count, std::int32_t part, std::int32_t num_parts)
      : begin(count * part / num_parts), end(count * (part + 1) / num_parts) {}
};

}  // namespace tessera::kernels

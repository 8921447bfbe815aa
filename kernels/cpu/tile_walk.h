#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

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
        step_pairs_(longest_step(num_blocks_, leaf_pairs_)) {}

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
    GroupTile tiles[kGroupBlocks];
    while (begin < end) {
      const std::int64_t panel_end = (begin / num_blocks_ + 1) * num_blocks_;
      const std::int64_t group_end = std::min({end, panel_end, begin + kGroupBlocks});
      const std::span group(tiles, static_cast<std::size_t>(group_end - begin));
      for (GroupTile& tile : group) {
        start(tile, begin++, a);
        place(tile.tile, tile.args);
      }
      run_group(kernels, group, begin < end ? matrix_.panel(begin / num_blocks_) : nullptr, done);
    }
  }

 private:
  static constexpr std::int64_t kGroupBlocks = 16;
  static constexpr std::int64_t kPairBytes = kPanelWidth * 4;

  struct GroupTile {
    Tile tile;
    TileArgs args;
    TileState state;
  };

  // What the tiles of a group share in a step.
  struct Step {
    std::int32_t leaf = 0;
    std::int64_t num_pairs = 0;
    bool begins_leaf = false;
    bool ends_leaf = false;
    bool ends_product = false;
    const std::byte* fetch = nullptr;
    std::int64_t fetch_bytes = 0;  // of a tile
    std::int64_t pairs_per_fetch = 1;
  };

  // Nothing hides the memory that the first step of a share waits for: steps are short where few
  // row blocks keep memory busy. Where they do not, sums that stay in registers longer gain more. A
  // single block is one stream in any case.
  static std::int64_t longest_step(std::int64_t num_blocks, std::int64_t leaf_pairs) {
    if (num_blocks == 1 || leaf_pairs == 0) return leaf_pairs;
    const std::int64_t limit = num_blocks <= 4 ? 256 : 512;
    const std::int64_t num_steps = round_up(leaf_pairs, limit) / limit;
    return round_up(leaf_pairs, num_steps) / num_steps;
  }

  // At the first pair of its panel.
  void start(GroupTile& tile, std::int64_t index, const ConstMatrixView& a) const {
    const std::int64_t block = index % num_blocks_;
    const std::int64_t first = num_rows_ * block / num_blocks_;
    tile.tile = {index / num_blocks_, first, num_rows_ * (block + 1) / num_blocks_ - first};
    tile.args.a = static_cast<const std::byte*>(a.row(first));
    tile.args.a_stride_bytes = a.row_stride * 2;
    tile.args.rows = tile.tile.num_rows;
    tile.args.weights = matrix_.panel(tile.tile.panel);
    tile.args.state = &tile.state;
    tile.args.width = matrix_.width(tile.tile.panel);
  }

  // `following`: the panel of the next group, null at the end.
  template <typename Done>
  void run_group(const CpuKernels& kernels,
                 std::span<GroupTile> group,
                 const std::byte* following,
                 const Done& done) const {
    Step step;
    for (step.leaf = 0; step.leaf < matrix_.shape().k_leaves; ++step.leaf) {
      std::int64_t left = leaf_pairs_;
      do {
        step.num_pairs = std::min(step_pairs_, left);
        step.begins_leaf = left == leaf_pairs_;
        left -= step.num_pairs;
        step.ends_leaf = left == 0;
        step.ends_product = step.ends_leaf && step.leaf + 1 == matrix_.shape().k_leaves;
        set_fetch(step, group, following);
        for (GroupTile& tile : group) {
          run_step(kernels, step, tile.args);
          if (step.ends_product) done(tile.tile, tile.args);
          step.fetch += step.fetch_bytes;
        }
      } while (left > 0);
    }
  }

  // A step of a tile is a microsecond: no divisions here.
  static void run_step(const CpuKernels& kernels, const Step& step, TileArgs& args) {
    args.num_pairs = step.num_pairs;
    args.leaf = step.leaf;
    args.begins_leaf = step.begins_leaf;
    args.ends_leaf = step.ends_leaf;
    args.ends_product = step.ends_product;
    args.fetch = step.fetch;
    args.pairs_per_fetch = step.pairs_per_fetch;
    kernels.product_tile(args);
    args.a += step.num_pairs * 4;
    args.weights += step.num_pairs * kPairBytes;
  }

  // The blocks of a group fetch a part each of the next step. A group of one block leaves it to the
  // processor, whose own prefetching of a stream is faster (31 against 22 GB/s of one thread).
  static void set_fetch(Step& step, std::span<const GroupTile> group, const std::byte* following) {
    const auto num_blocks = static_cast<std::int64_t>(group.size());
    const std::byte* weights = group.front().args.weights;
    const std::byte* next = step.ends_product ? following : weights + step.num_pairs * kPairBytes;
    if (num_blocks == 1 || next == nullptr) {
      step.fetch = weights;  // nothing but what is read anyway
      step.fetch_bytes = 0;
      step.pairs_per_fetch = std::max<std::int64_t>(1, step.num_pairs);
      return;
    }
    step.fetch = next;
    step.fetch_bytes = round_up(step.num_pairs, num_blocks) / num_blocks * kPairBytes;
    step.pairs_per_fetch = num_blocks;
  }

  const CpuMatrix& matrix_;
  std::int64_t num_rows_;
  std::int64_t num_blocks_;
  std::int64_t leaf_pairs_;
  std::int64_t step_pairs_;
};

/// [begin, end) of `count` pieces of work that belong to `part` of `num_parts`.
struct Share {
  std::int64_t begin = 0;
  std::int64_t end = 0;

  Share(std::int64_t count, std::int32_t part, std::int32_t num_parts)
      : begin(count * part / num_parts), end(count * (part + 1) / num_parts) {}
};

}  // namespace tessera::kernels

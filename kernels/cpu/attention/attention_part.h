#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <type_traits>

#include "kernels/cpu/attention/attention_scratch.h"
#include "kernels/cpu/attention/key_prefetch.h"
#include "kernels/cpu/attention/key_tiles.h"
#include "kernels/cpu/attention/row_tiles.h"

namespace tessera::kernels {

/// Greatest score of no keys.
inline constexpr float kNothing = -std::numeric_limits<float>::infinity();

/// One part of a block_attention call, written once for all instruction sets.
///
/// For every row tile, over the key tiles: pack K and V for the instruction set, then for a few
/// queries at a time: scores, online softmax, P V. A query is a row and one of the query heads of
/// the KV head; query m of a tile is row m / group, head m % group.
///
/// `Isa` is a type local to the file that is compiled for the instruction set. It has the element
/// type of packed operands, the number of queries of a register tile and the steps called below;
/// `count` queries at a time, scores [count, kTileKeys], all sums in an order of its own that
/// depends on nothing but head_dim.
template <typename Isa>
class AttentionPart {
 public:
  AttentionPart(const AttentionArgs& args, std::span<std::byte> scratch)
      : args_(args),
        group_(args.num_q_heads / args.pages.num_kv_heads),
        head_dim_(args.pages.head_dim),
        scratch_(scratch, group_, head_dim_, sizeof(typename Isa::Element)),
        queries_(reinterpret_cast<typename Isa::Element*>(scratch_.queries)),
        keys_(reinterpret_cast<typename Isa::Element*>(scratch_.keys)),
        values_(reinterpret_cast<typename Isa::Element*>(scratch_.values)) {}

  // The following tile, of the next rows at the end of a row tile, is known while one is computed,
  // so that its K and V can be on their way.
  void run(std::int32_t part, std::int32_t num_parts) {
    KeyTiles tiles(args_, part, num_parts);
    KeyTile* tile = &tiles_[0];
    KeyTile* following = &tiles_[1];
    bool more = tiles.next(*tile);
    while (more) {
      more = tiles.next(*following);
      if (tile->starts_rows) begin(tile->rows);
      if (tile->first_group < tile->end_group) {
        add_tile(*tile, more && following->end_group > 0 ? following : nullptr);
      }
      if (!more || following->starts_rows) finish();
      KeyTile* const done = tile;
      tile = following;
      following = done;
    }
  }

 private:
  std::int32_t num_queries() const { return rows_.num_rows * group_; }

  template <typename View>
  auto* head_of(const View& view, std::int32_t row, std::int32_t index) const {
    using Pointer =
        std::conditional_t<std::is_same_v<View, MatrixView>, std::uint16_t*, const std::uint16_t*>;
    const std::int64_t head = std::int64_t{rows_.kv_head} * group_ + index;
    return static_cast<Pointer>(view.row(rows_.span->first_row + rows_.first_row + row)) +
           head * head_dim_;
  }

  void begin(const RowTile& rows) {
    rows_ = rows;
    std::int64_t m = 0;
    for (std::int32_t row = 0; row < rows_.num_rows; ++row) {
      for (std::int32_t index = 0; index < group_; ++index, ++m) {
        Isa::load_query(head_of(args_.q, row, index), head_dim_, queries_ + m * head_dim_);
      }
    }
    std::fill_n(scratch_.outputs, m * scratch_.value_stride, 0.0F);
    std::fill_n(scratch_.tops, m, kNothing);
    std::fill_n(scratch_.totals, m * 16, 0.0F);
  }

  void add_tile(const KeyTile& tile, const KeyTile* following) {
    // Equal register tiles: a single left-over query would wait for the latency of its sums.
    const std::int32_t count = num_queries();
    const std::int32_t steps = (count + Isa::kMaxQueries - 1) / Isa::kMaxQueries;
    KeyPrefetch prefetch;
    if (following != nullptr) {
      prefetch = lines_.list(*following, head_dim_, steps * Isa::num_iterations(tile, head_dim_));
    }
    for (std::int32_t group = tile.first_group; group < tile.end_group; ++group) {
      Isa::pack_keys(tile, group, head_dim_, keys_);
      Isa::pack_values(tile, group, head_dim_, scratch_.value_stride, values_);
    }
    std::uint64_t* sees = scratch_.sees;
    for (std::int32_t row = 0; row < rows_.num_rows; ++row) {
      sees = std::fill_n(sees, group_, tile.sees[static_cast<std::size_t>(row)]);
    }
    for (std::int32_t step = 0; step < steps; ++step) {
      const std::int32_t first = count * step / steps;
      add_queries(tile, first, count * (step + 1) / steps - first, prefetch);
    }
  }

  void add_queries(const KeyTile& tile,
                   std::int64_t first,
                   std::int32_t count,
                   KeyPrefetch& prefetch) {
    const std::int64_t stride = scratch_.value_stride;
    Isa::score(count, tile, queries_ + first * head_dim_, head_dim_, keys_, scores_, prefetch);
    Isa::advance(count, scratch_.sees + first, args_.scale, scores_, scratch_.tops + first,
                 scratch_.totals + 16 * first, rescale_);
    Isa::add_values(count, tile, scores_, rescale_, values_, stride,
                    scratch_.outputs + first * stride, prefetch);
  }

  void finish() {
    std::int64_t m = 0;
    for (std::int32_t row = 0; row < rows_.num_rows; ++row) {
      for (std::int32_t index = 0; index < group_; ++index, ++m) {
        Isa::store_output(scratch_.outputs + m * scratch_.value_stride, scratch_.totals + 16 * m,
                          head_dim_, head_of(args_.out, row, index));
      }
    }
  }

  const AttentionArgs& args_;
  std::int32_t group_;
  std::int32_t head_dim_;
  AttentionScratch scratch_;
  typename Isa::Element* queries_;
  typename Isa::Element* keys_;
  typename Isa::Element* values_;
  RowTile rows_;
  KeyTile tiles_[2];
  KeyLines lines_;
  alignas(64) float scores_[Isa::kMaxQueries * kTileKeys];
  alignas(64) float rescale_[16];
};

}  // namespace tessera::kernels

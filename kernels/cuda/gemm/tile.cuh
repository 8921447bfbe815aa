#pragma once

#include <cstdint>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/matrix_unit.h"
#include "kernels/cuda/device/shared_memory.h"
#include "kernels/cuda/device/target.h"

/// One CTA's tile of a product, shared by the dense and the grouped GEMM.
namespace tessera::kernels::cuda {

/// A CTA of four warps, two by two, makes kTileRows x kTileCols outputs.
struct TileShape {
  static constexpr int kThreads = 128;
  static constexpr int kTileRows = 64;
  static constexpr int kTileCols = 64;
  static constexpr int kStep = 32;  ///< K columns of a stage.
  static constexpr int kStages = 4;
  static constexpr int kWarpRows = 32;
  static constexpr int kWarpCols = 32;
  /// Elements between rows of a stage: 80 bytes, so that the eight rows of an 8 x 8 tile lie in
  /// different banks.
  static constexpr int kPitch = kStep + 8;
  static constexpr int kPitchByK = kTileCols + 8;
  static_assert(kStep * kPitchByK <= kTileCols * kPitch);
  static constexpr int kStageElements = (kTileRows + kTileCols) * kPitch;
  static constexpr int kSharedBytes = SharedMemory::bytes_of<Bf16>(kStages * kStageElements);
};

/// A warp's 32 x 32 outputs: c[i][j] is the fragment of rows 16 i and columns 8 j.
struct TileAccumulator {
  float c[2][4][4];

  __device__ void clear() {
#pragma unroll
    for (auto& row : c) {
      for (auto& fragment : row) {
        for (float& value : fragment) value = 0.0F;
      }
    }
  }
  /// this = left + this.
  __device__ void add_to(const TileAccumulator& left) {
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < 4; ++j) {
#pragma unroll
        for (int k = 0; k < 4; ++k) c[i][j][k] = left.c[i][j][k] + c[i][j][k];
      }
    }
  }
};

/// One side of a product: rows of K contiguous bf16 numbers.
struct TileSource {
  const Bf16* data;         ///< Of the tile's first row, at the first K column.
  std::int64_t row_stride;  ///< Elements.
  int num_rows;             ///< Rows behind are zeros.
  bool aligned;             ///< Every row begins on 16 bytes.

  __device__ const Bf16* row(int index) const { return data + index * row_stride; }
};

/// The same of rows that lie anywhere in a matrix.
struct GatheredSource {
  const Bf16* data;         ///< Of row 0 of the matrix, at the first K column.
  std::int64_t row_stride;  ///< Elements.
  const int* rows;          ///< [num_rows] of the matrix
  int num_rows;
  bool aligned;

  __device__ const Bf16* row(int index) const { return data + rows[index] * row_stride; }
};

/// Rows [0, kRows) and K columns [k, k + kStep) of a side into a stage; what lies behind num_rows
/// or `k_end` becomes zero.
template <int kRows, typename Source>
__device__ void load_side(SharedSpan<Bf16> stage, const Source& side, int k, int k_end) {
  using Shape = TileShape;
  constexpr int kPieces = Shape::kStep / 8;  // of 16 bytes
  for (int i = static_cast<int>(threadIdx.x); i < kRows * kPieces; i += Shape::kThreads) {
    const int row = i / kPieces;
    const int col = k + i % kPieces * 8;
    const SharedSpan<Bf16> to = stage + (row * Shape::kPitch + i % kPieces * 8);
    const bool inside = row < side.num_rows && col < k_end;
    const Bf16* from = inside ? side.row(row) + col : side.data;
    if (!inside || (side.aligned && col + 8 <= k_end)) {
      async_copy_16(to, from, inside);
      continue;
    }
    for (int j = 0; j < 8; ++j) to[j] = col + j < k_end ? from[j] : Bf16{0};
  }
}

/// K rows [k, k + kStep) of a side that is stored by rows of K, kTileCols columns of each; behind
/// `k_end` zeros. Its rows are aligned and may be read to the end of the tile or of `num_rows`
/// columns, rounded up to 8.
__device__ inline void load_side_by_k(SharedSpan<Bf16> stage,
                                      const TileSource& side,
                                      int k,
                                      int k_end) {
  using Shape = TileShape;
  constexpr int kPieces = Shape::kTileCols / 8;
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kStep * kPieces; i += Shape::kThreads) {
    const int row = i / kPieces;
    const int col = i % kPieces * 8;
    const bool inside = k + row < k_end && col < side.num_rows;
    const Bf16* from = inside ? side.row(k + row) + col : side.data;
    async_copy_16(stage + (row * Shape::kPitchByK + col), from, inside);
  }
}

/// acc = a b^T over K columns [0, k_end), summed in steps of kStep. Leaves the shared memory free
/// for the next call (all threads have read it).
/// @tparam kByK  `b` is stored by rows of K (load_side_by_k), else by rows of outputs.
template <bool kByK = false, typename Source>
__device__ void multiply_tile(SharedSpan<Bf16> stages,
                              const Source& a,
                              const TileSource& b,
                              int k_end,
                              TileAccumulator& acc) {
  using Shape = TileShape;
  const int num_steps = (k_end + Shape::kStep - 1) / Shape::kStep;
  const int warp_row = warp_index() / 2 * Shape::kWarpRows;
  const int warp_col = warp_index() % 2 * Shape::kWarpCols;
  const auto stage_of = [&](int step) {
    return stages + step % Shape::kStages * Shape::kStageElements;
  };
  const auto load = [&](int step) {
    if (step < num_steps) {
      const SharedSpan<Bf16> stage = stage_of(step);
      load_side<Shape::kTileRows>(stage, a, step * Shape::kStep, k_end);
      const SharedSpan<Bf16> cols = stage + Shape::kTileRows * Shape::kPitch;
      if constexpr (kByK) {
        load_side_by_k(cols, b, step * Shape::kStep, k_end);
      } else {
        load_side<Shape::kTileCols>(cols, b, step * Shape::kStep, k_end);
      }
    }
    async_commit();
  };
  acc.clear();
  for (int step = 0; step < Shape::kStages - 1; ++step) load(step);
  for (int step = 0; step < num_steps; ++step) {
    async_wait<Shape::kStages - 2>();
    __syncthreads();
    load(step + Shape::kStages - 1);
    const SharedSpan<Bf16> rows = stage_of(step);
    const SharedSpan<Bf16> cols = rows + Shape::kTileRows * Shape::kPitch;
    const int lane_row = lane_index() % 16;
    const int lane_col = lane_index() / 16 * 8;
#pragma unroll
    for (int k = 0; k < Shape::kStep; k += 16) {
      std::uint32_t fragments_a[2][4];
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        load_tiles(fragments_a[i],
                   rows + ((warp_row + i * 16 + lane_row) * Shape::kPitch + k + lane_col));
      }
#pragma unroll
      for (int j = 0; j < 2; ++j) {  // 16 columns of the output at a time
        std::uint32_t tiles[4];
        if constexpr (kByK) {
          load_tiles_transposed(tiles, cols + ((k + lane_row) * Shape::kPitchByK + warp_col +
                                               j * 16 + lane_col));
        } else {
          load_tiles(tiles, cols + ((warp_col + j * 16 + lane_row) * Shape::kPitch + k + lane_col));
        }
        const std::uint32_t low[2] = {tiles[0], tiles[kByK ? 1 : 2]};
        const std::uint32_t high[2] = {tiles[kByK ? 2 : 1], tiles[3]};
#pragma unroll
        for (int i = 0; i < 2; ++i) {
          multiply_16x8x16(acc.c[i][2 * j], fragments_a[i], low);
          multiply_16x8x16(acc.c[i][2 * j + 1], fragments_a[i], high);
        }
      }
    }
  }
  async_wait<0>();
  __syncthreads();
}

/// Calls store(row, col, value) for this thread's outputs of the tile.
template <typename Store>
__device__ void for_each_output(const TileAccumulator& acc, const Store& store) {
  using Shape = TileShape;
  const int first_row = warp_index() / 2 * Shape::kWarpRows + lane_index() / 4;
  const int first_col = warp_index() % 2 * Shape::kWarpCols + lane_index() % 4 * 2;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        store(first_row + i * 16 + k / 2 * 8, first_col + j * 8 + k % 2, acc.c[i][j][k]);
      }
    }
  }
}

/// A reduction in leaves (partition.h): leaf(i, acc) makes leaf i, `num_leaves` is 1, 2, 4 or 8.
/// @param acc  out: the leaves combined in tree order.
template <typename Leaf>
__device__ void combine_leaves(int num_leaves, const Leaf& leaf, TileAccumulator& acc) {
  // waiting[l]: the sum of 2^l leaves that waits for its right neighbour.
  TileAccumulator waiting[3];
  for (int i = 0; i < num_leaves; ++i) {
    leaf(i, acc);
    bool carries = true;
#pragma unroll
    for (int level = 0; level < 3; ++level) {
      if (!carries) continue;
      carries = ((i >> level) & 1) != 0;
      if (carries) {
        acc.add_to(waiting[level]);
      } else {
        waiting[level] = acc;
      }
    }
  }
}

}  // namespace tessera::kernels::cuda

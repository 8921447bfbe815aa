#include <algorithm>

#include "kernels/cuda/device/async_copy.h"
#include "kernels/cuda/device/kernel_order.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/matrix_unit.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kWideTile = 64;  // rows of w that make a tile
constexpr int kNarrowTile = 32;
constexpr int kFewRows = 32;  // of a
constexpr int kMostRows = 64;
constexpr int kLeastCapability = 90;  // of GPUs with the shared memory that a CTA uses

/// @tparam kCols  Of a tile: rows of w, 16 of a warp; warps that are left have parts of K.
/// @tparam kRows  Of a, rounded up: 16, 32 or 64.
template <int kCols, int kRows>
struct Shape {
  // K columns of a unit: memory likes long pieces of a row, whatever the number of rows.
  static constexpr int kStep = 8192 / kCols;
  static constexpr int kPieces = kStep / 8;
  static constexpr int kFragments = kRows / 8;
  static constexpr int kColWarps = kCols / 16;
  static constexpr int kParts = kWarps / kColWarps;
  static constexpr int kPartPieces = kPieces / kParts;
  static constexpr int kSumVectors = (kParts - 1) * kColWarps * kFragments * kWarpSize;
  static constexpr int kStageElements = (kCols + kRows) * kStep;
  // More than half of a multiprocessor's memory: a CTA of the next product begins where one of this
  // one has ended, so that all multiprocessors get one.
  static constexpr int kStages = (200 << 10) / (kStageElements * 2);
  static constexpr int kSharedBytes = SharedMemory::bytes_of<Bf16>(kStages * kStageElements) +
                                      SharedMemory::bytes_of<float4>(kSumVectors);
};

// The floor is the bytes of w. A CTA makes whole tiles of outputs, in units of kStep K columns.
struct NarrowArgs {
  const Bf16* a;  // [rows, depth]
  std::int64_t a_stride;
  int rows;
  const Bf16* w;  // [cols, depth]
  std::int64_t w_stride;
  int cols;
  int depth;
  float* c;  // [rows, cols]
  std::int64_t c_stride;
  int num_tiles;
  int tile_units;

  __device__ int first_tile(int cta) const {
    return static_cast<int>(std::int64_t{num_tiles} * cta / static_cast<int>(gridDim.x));
  }
};

// Where a unit lies.
struct Place {
  int tile;
  int step;

  __device__ void advance(int tile_units) {
    if (++step < tile_units) return;
    step = 0;
    ++tile;
  }
};

// Rows of w, or of a, in a stage: pieces of 16 bytes, of row r at piece ^ (r % 8), so that eight
// rows of a piece lie in different banks.
template <int kStep>
__device__ int place_of(int row, int piece) {
  return row * kStep + (piece ^ (row % 8)) * 8;
}

// Calls copy(to, from, present) for this thread's pieces of kRows rows, of which `num_rows` exist,
// with `num_cols` columns.
template <int kRows, int kStep, typename Copy>
__device__ void each_piece(SharedSpan<Bf16> to,
                           const Bf16* rows,
                           std::int64_t stride,
                           int num_rows,
                           int num_cols,
                           const Copy& copy) {
  constexpr int kPieces = kStep / 8;
  constexpr int kAtOnce = kThreads / kPieces;
  static_assert(kRows % kAtOnce == 0 && kAtOnce % 8 == 0);
  const int piece = static_cast<int>(threadIdx.x) % kPieces;
  const int first = static_cast<int>(threadIdx.x) / kPieces;
  const Bf16* from = rows + first * stride + piece * 8;
  const SharedSpan<Bf16> place = to + place_of<kStep>(first, piece);
  const bool whole = num_rows >= kRows && num_cols >= kStep;
#pragma unroll
  for (int i = 0; i < kRows / kAtOnce; ++i) {
    const bool present = whole || (first + i * kAtOnce < num_rows && piece * 8 < num_cols);
    copy(place + i * kAtOnce * kStep, present ? from + i * kAtOnce * stride : rows, present);
  }
}

template <int kCols, int kStep>
__device__ void load_weights(const NarrowArgs& args, SharedSpan<Bf16> stage, const Place& place) {
  const int col = place.tile * kCols;
  const int k = place.step * kStep;
  each_piece<kCols, kStep>(stage, args.w + col * args.w_stride + k, args.w_stride, args.cols - col,
                           args.depth - k, [](SharedSpan<Bf16> to, const Bf16* from, bool present) {
                             async_copy_16(to, from, present);
                           });
}

template <int kCols, int kRows, typename Copy>
__device__ void each_row_piece(const NarrowArgs& args,
                               SharedSpan<Bf16> stage,
                               const Place& place,
                               const Copy& copy) {
  constexpr int kStep = Shape<kCols, kRows>::kStep;
  const int k = place.step * kStep;
  each_piece<kRows, kStep>(stage + kCols * kStep, args.a + k, args.a_stride, args.rows,
                           args.depth - k, copy);
}

// Rows of `a` in the first stages. Not asynchronous: they would be waited for behind all of the
// weights that are under way.
template <int kCols, int kRows>
__device__ void load_first_rows(const NarrowArgs& args,
                                SharedSpan<Bf16> stages,
                                const Place& first,
                                int num_units) {
  constexpr int kUnits = Shape<kCols, kRows>::kStages - 1;
  constexpr int kLoads = kRows * Shape<kCols, kRows>::kPieces / kThreads;
  uint4 pieces[kUnits][kLoads];
  const auto each = [&](const auto& visit) {
    Place place = first;
#pragma unroll
    for (int i = 0; i < kUnits; ++i) {
      int load = 0;
      if (i < num_units) {
        each_row_piece<kCols, kRows>(args, stages + i * Shape<kCols, kRows>::kStageElements, place,
                                     [&](SharedSpan<Bf16> to, const Bf16* from, bool present) {
                                       visit(to, from, present, pieces[i][load++]);
                                     });
      }
      place.advance(args.tile_units);
    }
  };
  each([](SharedSpan<Bf16>, const Bf16* from, bool present, uint4& piece) {
    piece = present ? *reinterpret_cast<const uint4*>(from) : uint4{0, 0, 0, 0};
  });
  each([](SharedSpan<Bf16> to, const Bf16*, bool, const uint4& piece) {
    to.as<uint4>()[0] = piece;
  });
}

// sums += 16 rows of w times all of a, over this warp's part of the unit; fragment j has rows 8 j
// of a as its columns.
template <int kCols, int kRows>
__device__ void multiply_unit(SharedSpan<Bf16> stage, float (&sums)[kRows / 8][4]) {
  using S = Shape<kCols, kRows>;
  const SharedSpan<Bf16> rows = stage + kCols * S::kStep;
  const int lane_row = lane_index() % 16;
  const int first_piece = warp_index() / S::kColWarps * S::kPartPieces + lane_index() / 16;
  const int col = warp_index() % S::kColWarps * 16 + lane_row;
#pragma unroll
  for (int piece = 0; piece < S::kPartPieces; piece += 2) {
    std::uint32_t weights[4];
    load_tiles(weights, stage + place_of<S::kStep>(col, first_piece + piece));
#pragma unroll
    for (int j = 0; j < kRows / 16; ++j) {
      std::uint32_t tiles[4];
      load_tiles(tiles, rows + place_of<S::kStep>(j * 16 + lane_row, first_piece + piece));
      const std::uint32_t low[2] = {tiles[0], tiles[2]};
      const std::uint32_t high[2] = {tiles[1], tiles[3]};
      multiply_16x8x16(sums[2 * j], weights, low);
      multiply_16x8x16(sums[2 * j + 1], weights, high);
    }
  }
}

template <int kFragments>
__device__ void clear(float (&sums)[kFragments][4]) {
#pragma unroll
  for (auto& fragment : sums) {
#pragma unroll
    for (float& value : fragment) value = 0.0F;
  }
}

// Adds the warps' parts of a tile, in their order, and stores it.
// @param scratch  [kSumVectors], free again after the next barrier
template <int kCols, int kRows>
__device__ void finish(const NarrowArgs& args,
                       int tile,
                       SharedSpan<float4> scratch,
                       float (&sums)[kRows / 8][4]) {
  using S = Shape<kCols, kRows>;
  const int part = warp_index() / S::kColWarps;
  const int col_warp = warp_index() % S::kColWarps;
  const auto place = [&](int other, int j) {
    return (((other - 1) * S::kColWarps + col_warp) * S::kFragments + j) * kWarpSize + lane_index();
  };
  if constexpr (S::kParts > 1) {
    if (part > 0) {
#pragma unroll
      for (int j = 0; j < S::kFragments; ++j) {
        scratch[place(part, j)] = float4{sums[j][0], sums[j][1], sums[j][2], sums[j][3]};
      }
    }
    __syncthreads();
    if (part > 0) return;
#pragma unroll
    for (int other = 1; other < S::kParts; ++other) {
#pragma unroll
      for (int j = 0; j < S::kFragments; ++j) {
        const float4 sum = scratch[place(other, j)];
        sums[j][0] += sum.x;
        sums[j][1] += sum.y;
        sums[j][2] += sum.z;
        sums[j][3] += sum.w;
      }
    }
  }
  const int first_col = tile * kCols + col_warp * 16 + lane_index() / 4;
  const int first_row = lane_index() % 4 * 2;
#pragma unroll
  for (int j = 0; j < S::kFragments; ++j) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int row = first_row + j * 8 + i % 2;
      const int col = first_col + i / 2 * 8;
      if (row < args.rows && col < args.cols) args.c[row * args.c_stride + col] = sums[j][i];
    }
  }
}

template <int kCols, int kRows>
__global__ __launch_bounds__(kThreads,
                             1) void narrow_gemm_kernel(const __grid_constant__ NarrowArgs args) {
  using S = Shape<kCols, kRows>;
  SharedMemory memory;
  const SharedSpan<Bf16> stages = memory.take<Bf16>(S::kStages * S::kStageElements);
  const SharedSpan<float4> scratch = memory.take<float4>(S::kSumVectors);
  const auto stage_of = [&](int unit) { return stages + unit % S::kStages * S::kStageElements; };
  const int first_tile = args.first_tile(static_cast<int>(blockIdx.x));
  const int end_tile = args.first_tile(static_cast<int>(blockIdx.x) + 1);
  const int num_units = (end_tile - first_tile) * args.tile_units;
  // Weights are constants: they come while earlier kernels make `a`.
  Place next{first_tile, 0};
  for (int unit = 0; unit < S::kStages - 1; ++unit) {
    if (unit < num_units) load_weights<kCols, S::kStep>(args, stage_of(unit), next);
    async_commit();
    next.advance(args.tile_units);
  }
  begin_in_order();
  load_first_rows<kCols, kRows>(args, stages, {first_tile, 0}, num_units);
  float sums[S::kFragments][4];
  clear(sums);
  Place place{first_tile, 0};
  for (int unit = 0; unit < num_units; ++unit) {
    async_wait<S::kStages - 2>();
    __syncthreads();
    if (unit + S::kStages - 1 < num_units) {
      const SharedSpan<Bf16> stage = stage_of(unit + S::kStages - 1);
      load_weights<kCols, S::kStep>(args, stage, next);
      each_row_piece<kCols, kRows>(args, stage, next,
                                   [](SharedSpan<Bf16> to, const Bf16* from, bool present) {
                                     async_copy_16(to, from, present);
                                   });
      next.advance(args.tile_units);
    }
    async_commit();
    multiply_unit<kCols, kRows>(stage_of(unit), sums);
    if (place.step + 1 == args.tile_units) {
      finish<kCols, kRows>(args, place.tile, scratch, sums);
      clear(sums);
    }
    place.advance(args.tile_units);
  }
}

template <int kCols, int kRows>
void launch_narrow(Context& context, std::int64_t num_ctas, const NarrowArgs& args) {
  launch(&narrow_gemm_kernel<kCols, kRows>,
         {.grid_x = num_ctas,
          .grid_y = 1,
          .threads = kThreads,
          .shared_bytes = Shape<kCols, kRows>::kSharedBytes,
          .starts_early = true},
         context.stream(), args);
}

// CTAs that have as many tiles each. Fewer than multiprocessors are enough if they are most of
// them.
std::int64_t ctas_of(std::int64_t num_tiles, std::int64_t num_multiprocessors) {
  const std::int64_t each = (num_tiles + num_multiprocessors - 1) / num_multiprocessors;
  return (num_tiles + each - 1) / each;
}

template <int kCols>
void launch_tiles(Context& context, NarrowArgs args) {
  constexpr int kStep = Shape<kCols, 16>::kStep;
  args.num_tiles = (args.cols + kCols - 1) / kCols;
  args.tile_units = (args.depth + kStep - 1) / kStep;
  const std::int64_t num_ctas = ctas_of(args.num_tiles, context.device().num_multiprocessors);
  if (args.rows <= 16) return launch_narrow<kCols, 16>(context, num_ctas, args);
  if (args.rows <= kFewRows) return launch_narrow<kCols, kFewRows>(context, num_ctas, args);
  if constexpr (kCols == kWideTile) launch_narrow<kCols, kMostRows>(context, num_ctas, args);
}

bool on_16_bytes(const ConstMatrixView& view) {
  return reinterpret_cast<std::uintptr_t>(view.data) % 16 == 0 && view.row_stride % 8 == 0;
}

// Tiles of a number of columns keep most of the multiprocessors busy.
bool fills(const Context& context, const CudaMatrix& w, std::int64_t tile_cols) {
  const std::int64_t num_tiles = (w.shape().rows + tile_cols - 1) / tile_cols;
  const std::int64_t at_once = context.device().num_multiprocessors;
  return num_tiles > 0 && 3 * ctas_of(num_tiles, at_once) >= 2 * at_once;
}

}  // namespace

// Measured on an H100 against cuBLASLt. Of more than 32 rows, only as many tiles as hide what a
// tile costs beside its weights.
bool prefers_narrow_gemm(const Context& context, ConstMatrixView a, const CudaMatrix& w) {
  const bool readable = w.shape().cols > 0 && w.shape().cols == w.row_stride() && on_16_bytes(a);
  if (context.device().compute_capability < kLeastCapability) return false;
  if (!readable || a.rows > kMostRows || !fills(context, w, kNarrowTile)) return false;
  return a.rows <= kFewRows ||
         w.shape().rows >= 2 * kWideTile * context.device().num_multiprocessors;
}

void narrow_gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c) {
  check_gemm(a, w.shape(), c, DType::kBFloat16);
  if (a.rows == 0) return;
  const NarrowArgs args{.a = static_cast<const Bf16*>(a.data),
                        .a_stride = a.row_stride,
                        .rows = static_cast<int>(a.rows),
                        .w = w.data(),
                        .w_stride = w.row_stride(),
                        .cols = static_cast<int>(w.shape().rows),
                        .depth = static_cast<int>(w.shape().cols),
                        .c = static_cast<float*>(c.data),
                        .c_stride = c.row_stride,
                        .num_tiles = 0,
                        .tile_units = 0};
  // Wide tiles read `a` less often.
  if (fills(context, w, kWideTile)) return launch_tiles<kWideTile>(context, args);
  launch_tiles<kNarrowTile>(context, args);
}

}  // namespace tessera::kernels::cuda

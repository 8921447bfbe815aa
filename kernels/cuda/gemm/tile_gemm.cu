#include "common/base/error.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/gemm/gemm.h"
#include "kernels/cuda/gemm/tile.cuh"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

using Shape = TileShape;

struct GemmArgs {
  const Bf16* a;  // [rows, num_leaves * leaf_cols]
  std::int64_t a_stride;
  bool a_aligned;
  const Bf16* w;  // [cols, num_leaves, leaf_stride]
  std::int64_t w_stride;
  int num_leaves;
  int leaf_cols;
  int leaf_stride;
  float* c;  // [rows, cols]
  std::int64_t c_stride;
  std::int64_t rows;
  std::int64_t cols;
};

// A CTA makes one tile; CTAs that share rows of w (blockIdx.x) run together.
template <bool kTree>
__global__ __launch_bounds__(Shape::kThreads) void tile_gemm_kernel(const GemmArgs args) {
  SharedMemory memory;
  const SharedSpan<Bf16> stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  const std::int64_t row = std::int64_t{blockIdx.x} * Shape::kTileRows;
  const std::int64_t col = std::int64_t{blockIdx.y} * Shape::kTileCols;
  const int rows = static_cast<int>(min(args.rows - row, std::int64_t{Shape::kTileRows}));
  const int cols = static_cast<int>(min(args.cols - col, std::int64_t{Shape::kTileCols}));
  const auto leaf = [&](int i, TileAccumulator& acc) {
    multiply_tile(stages,
                  TileSource{args.a + row * args.a_stride + std::int64_t{i} * args.leaf_cols,
                             args.a_stride, rows, args.a_aligned},
                  {args.w + col * args.w_stride + std::int64_t{i} * args.leaf_stride, args.w_stride,
                   cols, true},
                  args.leaf_cols, acc);
  };
  TileAccumulator acc;
  if constexpr (kTree) {
    combine_leaves(args.num_leaves, leaf, acc);
  } else {
    leaf(0, acc);
  }
  float* c = args.c + row * args.c_stride + col;
  for_each_output(acc, [&](int i, int j, float value) {
    if (i < rows && j < cols) c[i * args.c_stride + j] = value;
  });
}

}  // namespace

void tile_gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c) {
  check_gemm(a, w.shape(), c, DType::kBFloat16);
  const bool leaves_aligned = w.leaf_cols() % 8 == 0;
  const GemmArgs args{.a = static_cast<const Bf16*>(a.data),
                      .a_stride = a.row_stride,
                      .a_aligned = is_aligned(a) && leaves_aligned,
                      .w = w.data(),
                      .w_stride = w.row_stride(),
                      .num_leaves = w.shape().k_leaves,
                      .leaf_cols = static_cast<int>(w.leaf_cols()),
                      .leaf_stride = static_cast<int>(w.leaf_stride()),
                      .c = static_cast<float*>(c.data),
                      .c_stride = c.row_stride,
                      .rows = a.rows,
                      .cols = w.shape().rows};
  launch(args.num_leaves == 1 ? &tile_gemm_kernel<false> : &tile_gemm_kernel<true>,
         {.grid_x = (args.rows + Shape::kTileRows - 1) / Shape::kTileRows,
          .grid_y = (args.cols + Shape::kTileCols - 1) / Shape::kTileCols,
          .threads = Shape::kThreads,
          .shared_bytes = Shape::kSharedBytes},
         context.stream(), args);
}

}  // namespace tessera::kernels::cuda

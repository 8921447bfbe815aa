#include "kernels/cuda/measure/soft_embedding.h"

#include <algorithm>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/gemm/tile.cuh"
#include "kernels/op_checks.h"

namespace tessera::kernels::cuda {
namespace {

using Shape = TileShape;

constexpr int kThreads = 256;
// Rows whose probabilities the workspace holds: several tiles read the table while it is in L2.
constexpr std::int64_t kGroupRows = 4 * Shape::kTileRows;

// probabilities = exp((l - max) / temperature) / tempered_sum, rounded to bf16.
__global__ __launch_bounds__(kThreads) void probability_kernel(
    RowsView<const float> logits,
    const MeasurePartial* partials,  // [rows]
    RowsView<Bf16> probabilities) {
  const std::int64_t col = std::int64_t{blockIdx.y} * kThreads + static_cast<int>(threadIdx.x);
  if (col >= logits.cols) return;
  const MeasurePartial& partial = partials[blockIdx.x];
  const float distance = logits.row(blockIdx.x)[col] - static_cast<float>(partial.max_logit);
  const float weight = expf(distance / partial.temperature);
  probabilities.row(blockIdx.x)[col] = to_bf16(weight / static_cast<float>(partial.tempered_sum));
}

struct ProductArgs {
  RowsView<const Bf16> probabilities;  // [rows, ids]
  const Bf16* table;                   // [ids, hidden]
  std::int64_t table_stride;
  int row_leaves;
  int leaf_ids;
  bool aligned;  // leaves of the probabilities begin on 16 bytes
  RowsView<float> out;
  std::int64_t num_rows;
};

// A CTA makes one tile of `out`, whose K dimension is the vocabulary.
__global__ __launch_bounds__(Shape::kThreads) void product_kernel(const ProductArgs args) {
  SharedMemory memory;
  const SharedSpan<Bf16> stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  const std::int64_t row = std::int64_t{blockIdx.x} * Shape::kTileRows;
  const std::int64_t col = std::int64_t{blockIdx.y} * Shape::kTileCols;
  const int rows = static_cast<int>(min(args.num_rows - row, std::int64_t{Shape::kTileRows}));
  const int cols = static_cast<int>(min(args.out.cols - col, std::int64_t{Shape::kTileCols}));
  TileAccumulator acc;
  combine_leaves(
      args.row_leaves,
      [&](int leaf, TileAccumulator& sum) {
        const std::int64_t first = std::int64_t{leaf} * args.leaf_ids;
        const TileSource probabilities{args.probabilities.row(row) + first,
                                       args.probabilities.row_stride, rows, args.aligned};
        const TileSource table{args.table + first * args.table_stride + col, args.table_stride,
                               cols, true};
        multiply_tile<true>(stages, probabilities, table, args.leaf_ids, sum);
      },
      acc);
  for_each_output(acc, [&](int i, int j, float value) {
    if (i < rows && j < cols) args.out.row(row + i)[col + j] = value;
  });
}

}  // namespace

std::int64_t soft_embedding_workspace_bytes(const CudaMatrix& table, std::int64_t num_rows) {
  return std::min(num_rows, kGroupRows) * table.shape().rows *
         static_cast<std::int64_t>(sizeof(Bf16));
}

void soft_embedding(Context& context, const SoftEmbeddingArgs& args, const CudaMatrix& table) {
  check_soft_embedding(args, soft_embedding_workspace_bytes(table, args.logits.rows));
  const std::int64_t ids = table.shape().rows;
  const MeasurePartial* partials = context.stage(args.partials);
  const auto leaf_ids = static_cast<int>(ids / table.shape().row_leaves);
  for (std::int64_t first = 0; first < args.logits.rows; first += kGroupRows) {
    const std::int64_t count = std::min(kGroupRows, args.logits.rows - first);
    const RowsView<Bf16> probabilities{reinterpret_cast<Bf16*>(args.workspace.data()), ids, ids};
    const RowsView<const float> logits{static_cast<const float*>(args.logits.row(first)), ids,
                                       args.logits.row_stride};
    launch(&probability_kernel,
           {.grid_x = count,
            .grid_y = (ids + kThreads - 1) / kThreads,
            .threads = kThreads,
            .shared_bytes = 0},
           context.stream(), logits, partials + first, probabilities);
    launch(
        &product_kernel,
        {.grid_x = (count + Shape::kTileRows - 1) / Shape::kTileRows,
         .grid_y = (args.out.cols + Shape::kTileCols - 1) / Shape::kTileCols,
         .threads = Shape::kThreads,
         .shared_bytes = Shape::kSharedBytes},
        context.stream(),
        ProductArgs{
            .probabilities = {probabilities.data, ids, ids},
            .table = table.data(),
            .table_stride = table.row_stride(),
            .row_leaves = table.shape().row_leaves,
            .leaf_ids = leaf_ids,
            .aligned = is_aligned(args.workspace.data()) && ids % 8 == 0 && leaf_ids % 8 == 0,
            .out = {static_cast<float*>(args.out.row(first)), args.out.cols, args.out.row_stride},
            .num_rows = count});
  }
}

}  // namespace tessera::kernels::cuda

#include <bit>

#include "common/base/error.h"
#include "common/tensor/padding.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/cuda/device/activation.h"
#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/gemm/tile.cuh"
#include "kernels/cuda/moe/expert_order.h"
#include "kernels/cuda/moe/moe.h"

namespace tessera::kernels::cuda {
namespace {

using Shape = TileShape;

constexpr std::int64_t kRowAlignment = 8;  // elements: rows of intermediate results begin aligned
constexpr int kCombineThreads = 256;
constexpr int kCombineCols = kCombineThreads * kVector;

// The matrices of a product and the tiles of its rows.
struct Experts {
  const Bf16* weights;  // one expert behind the other
  std::int64_t w_stride;
  std::int64_t expert_rows;
  const ExpertTile* tiles;  // null: all rows belong to expert 0
  const int* num_tiles;
  int num_rows;  // of a product without tiles

  __device__ const Bf16* of(int expert) const { return weights + expert * expert_rows * w_stride; }
};

// The tile of this CTA; none behind the last one.
__device__ inline bool find_tile(const Experts& experts, ExpertTile& tile) {
  if (experts.tiles == nullptr) {
    const int first = static_cast<int>(blockIdx.x) * Shape::kTileRows;
    tile = {0, first, min(int{Shape::kTileRows}, experts.num_rows - first)};
    return true;
  }
  if (static_cast<int>(blockIdx.x) >= *experts.num_tiles) return false;
  tile = experts.tiles[blockIdx.x];
  return true;
}

struct GateUpArgs {
  Experts experts;
  RowsView<const Bf16> x;
  bool x_aligned;
  const int* rows;  // [places] row of x; null: the place itself
  Activation activation;
  RowsView<Bf16> h;  // out [places, width]
};

// h = act(gate x) up x of a tile of slots and 64 of their columns.
template <typename Source>
__device__ void gate_up_tile(const GateUpArgs& args,
                             const Bf16* weights,
                             const ExpertTile& tile,
                             const Source& x) {
  SharedMemory memory;
  const SharedSpan<Bf16> stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  const std::int64_t col = std::int64_t{blockIdx.y} * Shape::kTileCols;
  const int cols = static_cast<int>(min(args.h.cols - col, std::int64_t{Shape::kTileCols}));
  const auto depth = static_cast<int>(args.x.cols);
  const Bf16* gate_rows = weights + col * args.experts.w_stride;
  TileAccumulator gate;
  TileAccumulator up;
  multiply_tile(stages, x, {gate_rows, args.experts.w_stride, cols, true}, depth, gate);
  multiply_tile(
      stages, x,
      {gate_rows + args.h.cols * args.experts.w_stride, args.experts.w_stride, cols, true}, depth,
      up);
#pragma unroll
  for (int i = 0; i < 2; ++i) {
#pragma unroll
    for (int j = 0; j < 4; ++j) {
#pragma unroll
      for (int k = 0; k < 4; ++k) {
        up.c[i][j][k] *= activate(args.activation, gate.c[i][j][k]);
      }
    }
  }
  for_each_output(up, [&](int i, int j, float value) {
    if (i < tile.rows && j < cols) args.h.row(tile.first + i)[col + j] = to_bf16(value);
  });
}

__global__ __launch_bounds__(Shape::kThreads) void gate_up_kernel(const GateUpArgs args) {
  ExpertTile tile;
  if (!find_tile(args.experts, tile)) return;
  const Bf16* weights = args.experts.of(tile.expert);
  if (args.rows == nullptr) {
    gate_up_tile(args, weights, tile,
                 TileSource{args.x.row(tile.first), args.x.row_stride, tile.rows, args.x_aligned});
  } else {
    gate_up_tile(args, weights, tile,
                 GatheredSource{args.x.data, args.x.row_stride, args.rows + tile.first, tile.rows,
                                args.x_aligned});
  }
}

struct DownArgs {
  Experts experts;
  RowsView<const Bf16> h;  // [places, leaves of leaf_cols]
  bool h_aligned;
  int leaf_cols;
  int leaf_stride;
  int first_leaf;
  int num_leaves;
  const int* slots;      // [places] row of the product; null: the place itself
  RowsView<float> down;  // out [slots, hidden]
};

// The product of h with some leaves of down, in tree order.
template <bool kTree>
__global__ __launch_bounds__(Shape::kThreads) void down_kernel(const DownArgs args) {
  ExpertTile tile;
  if (!find_tile(args.experts, tile)) return;
  SharedMemory memory;
  const SharedSpan<Bf16> stages = memory.take<Bf16>(Shape::kStages * Shape::kStageElements);
  const std::int64_t col = std::int64_t{blockIdx.y} * Shape::kTileCols;
  const int cols = static_cast<int>(min(args.down.cols - col, std::int64_t{Shape::kTileCols}));
  const Bf16* weights = args.experts.of(tile.expert) + col * args.experts.w_stride;
  const auto leaf = [&](int i, TileAccumulator& acc) {
    const std::int64_t index = args.first_leaf + i;
    multiply_tile(stages,
                  TileSource{args.h.row(tile.first) + index * args.leaf_cols, args.h.row_stride,
                             tile.rows, args.h_aligned},
                  {weights + index * args.leaf_stride, args.experts.w_stride, cols, true},
                  args.leaf_cols, acc);
  };
  TileAccumulator acc;
  if constexpr (kTree) {
    combine_leaves(args.num_leaves, leaf, acc);
  } else {
    leaf(0, acc);
  }
  for_each_output(acc, [&](int i, int j, float value) {
    if (i >= tile.rows || j >= cols) return;
    const int place = tile.first + i;
    args.down.row(args.slots == nullptr ? place : args.slots[place])[col + j] = value;
  });
}

struct CombineArgs {
  RowsView<const float> down;    // [slots, hidden]
  RowsView<const float> shared;  // [rows, hidden], or null
  const std::int32_t* experts;   // [slots]
  const float* weights;          // [slots]
  int experts_per_token;
  int first_expert;
  int num_experts;  // that this rank has
  bool by_expert;   // pass p takes the experts of leaf p
  int pass;
  int num_passes;
  RowsView<float> waiting;  // [levels, rows, hidden]: sums that wait for their right neighbours
  RowsView<float> out;      // [rows, hidden]
  bool aligned;
};

// One pass of a row: its experts summed in ascending order, then the branches of the tree that this
// completes.
__global__ __launch_bounds__(kCombineThreads) void combine_kernel(const CombineArgs args) {
  const std::int64_t row = blockIdx.x;
  const std::int64_t cols = args.out.cols;
  const std::int64_t col =
      (std::int64_t{blockIdx.y} * kCombineThreads + static_cast<int>(threadIdx.x)) * kVector;
  if (col >= cols) return;
  float4 sum{0.0F, 0.0F, 0.0F, 0.0F};
  const auto add = [&](float weight, float4 x) {
    sum.x = fmaf(weight, x.x, sum.x);
    sum.y = fmaf(weight, x.y, sum.y);
    sum.z = fmaf(weight, x.z, sum.z);
    sum.w = fmaf(weight, x.w, sum.w);
  };
  for (int i = 0; i < args.experts_per_token; ++i) {
    const std::int64_t slot = row * args.experts_per_token + i;
    const int expert = args.experts[slot] - args.first_expert;
    if (expert < 0 || expert >= args.num_experts) continue;
    if (args.by_expert && expert * args.num_passes / args.num_experts != args.pass) continue;
    add(args.weights[slot], load_vector(args.down.row(slot), col, cols, true));
  }
  if (args.shared.data != nullptr) add(1.0F, load_vector(args.shared.row(row), col, cols, true));
  int level = 0;
  for (; ((args.pass >> level) & 1) != 0; ++level) {
    const float4 left =
        load_vector(args.waiting.row(level * std::int64_t{gridDim.x} + row), col, cols, true);
    sum = {left.x + sum.x, left.y + sum.y, left.z + sum.z, left.w + sum.w};
  }
  if (args.pass == args.num_passes - 1) {
    store_vector(args.out.row(row), col, cols, args.aligned, sum);
  } else {
    store_vector(args.waiting.row(level * std::int64_t{gridDim.x} + row), col, cols, true, sum);
  }
}

/// Shapes of a call and its workspace. The sums over experts come before those over leaves: to keep
/// that order for every number of ranks, deterministic mode makes one pass for each leaf; otherwise
/// there is one pass, in which an expert's leaves are combined at once.
class ExpertRun {
 public:
  ExpertRun(const Context& context,
            const ExpertWeights& weights,
            std::int32_t experts_per_token,
            std::int64_t num_rows)
      : weights_(weights),
        experts_per_token_(experts_per_token),
        num_rows_(num_rows),
        num_slots_(num_rows * experts_per_token),
        hidden_(weights.down->shape().rows / weights.num_local()),
        num_passes_(context.deterministic() ? weights.num_leaves : 1) {
    slots_ = take<int>(num_slots_);
    rows_ = take<int>(num_slots_);
    num_tiles_ = take<int>(1);
    tiles_ = take<ExpertTile>(max_tiles());
    h_ = take<Bf16>(num_slots_ * aligned_width(*weights.down));
    down_ = take<float>(num_slots_ * aligned_hidden());
    if (weights.shared_down) {
      shared_h_ = take<Bf16>(num_rows_ * aligned_width(*weights.shared_down));
      shared_down_ = take<float>(num_rows_ * aligned_hidden());
    }
    waiting_ = take<float>(num_levels() * num_rows_ * aligned_hidden());
  }

  std::int64_t num_bytes() const { return num_bytes_; }

  void run(Context& context, const MoeArgs& args) {
    workspace_ = args.workspace.data();
    const ExpertOrder order{at<int>(slots_), at<int>(rows_), at<ExpertTile>(tiles_),
                            at<int>(num_tiles_)};
    order_by_expert(context, args.experts.data(), num_slots_, weights_.first_expert,
                    weights_.num_local(), experts_per_token_, order);
    const MatrixView h = intermediate(h_, num_slots_, *weights_.down);
    multiply_gate_up(context, args, grouped(*weights_.gate_up, order), order.rows, h);
    MatrixView shared_h{};
    if (weights_.shared_down) {
      shared_h = intermediate(shared_h_, num_rows_, *weights_.shared_down);
      multiply_gate_up(context, args, dense(*weights_.shared_gate_up), nullptr, shared_h);
    }
    for (int pass = 0; pass < num_passes_; ++pass) {
      if (pass == 0 || !weights_.is_by_expert()) {
        multiply_down(context, *weights_.down, grouped(*weights_.down, order), h, order.slots, pass,
                      products());
      }
      if (weights_.shared_down) {
        multiply_down(context, *weights_.shared_down, dense(*weights_.shared_down), shared_h,
                      nullptr, pass, shared_products());
      }
      combine(context, args, pass);
    }
  }

 private:
  static constexpr std::int64_t kAlignment = 256;

  template <typename T>
  std::int64_t take(std::int64_t count) {
    const std::int64_t begin = num_bytes_;
    num_bytes_ += round_up(count * static_cast<std::int64_t>(sizeof(T)), kAlignment);
    return begin;
  }
  template <typename T>
  T* at(std::int64_t offset) const {
    return reinterpret_cast<T*>(workspace_ + offset);
  }

  std::int64_t max_tiles() const { return max_expert_tiles(num_slots_, weights_.num_local()); }
  std::int64_t aligned_hidden() const { return round_up(hidden_, kRowAlignment); }
  static std::int64_t aligned_width(const PackedMatrix& down) {
    return round_up(down.shape().cols, kRowAlignment);
  }
  std::int64_t num_levels() const { return std::bit_width(static_cast<unsigned>(num_passes_)) - 1; }

  MatrixView intermediate(std::int64_t offset,
                          std::int64_t num_rows,
                          const PackedMatrix& down) const {
    return {at<void>(offset), DType::kBFloat16, num_rows, down.shape().cols, aligned_width(down)};
  }
  MatrixView products() const {
    return {at<void>(down_), DType::kFloat32, num_slots_, hidden_, aligned_hidden()};
  }
  MatrixView shared_products() const {
    return {at<void>(shared_down_), DType::kFloat32, num_rows_, hidden_, aligned_hidden()};
  }

  Experts grouped(const PackedMatrix& matrix, const ExpertOrder& order) const {
    Experts experts = dense(matrix);
    experts.tiles = order.tiles;
    experts.num_tiles = order.num_tiles;
    return experts;
  }
  Experts dense(const PackedMatrix& matrix) const {
    const CudaMatrix& own = cuda_matrix(matrix);
    return {.weights = own.data(),
            .w_stride = own.row_stride(),
            .expert_rows = own.shape().rows / own.shape().row_leaves,
            .tiles = nullptr,
            .num_tiles = nullptr,
            .num_rows = static_cast<int>(num_rows_)};
  }

  LaunchShape tiles_by(const Experts& experts, std::int64_t cols) const {
    const std::int64_t dense_tiles = (num_rows_ + Shape::kTileRows - 1) / Shape::kTileRows;
    return {.grid_x = experts.tiles != nullptr ? max_tiles() : dense_tiles,
            .grid_y = (cols + Shape::kTileCols - 1) / Shape::kTileCols,
            .threads = Shape::kThreads,
            .shared_bytes = Shape::kSharedBytes};
  }

  void multiply_gate_up(Context& context,
                        const MoeArgs& args,
                        const Experts& experts,
                        const int* rows,
                        const MatrixView& h) const {
    launch(&gate_up_kernel, tiles_by(experts, h.cols), context.stream(),
           GateUpArgs{.experts = experts,
                      .x = rows_view<const Bf16>(args.x),
                      .x_aligned = is_aligned(args.x),
                      .rows = rows,
                      .activation = args.activation,
                      .h = rows_view<Bf16>(h)});
  }

  void multiply_down(Context& context,
                     const PackedMatrix& matrix,
                     const Experts& experts,
                     const MatrixView& h,
                     const int* slots,
                     int pass,
                     const MatrixView& products) const {
    const CudaMatrix& own = cuda_matrix(matrix);
    const int num_leaves = own.shape().k_leaves == 1 ? 1 : own.shape().k_leaves / num_passes_;
    launch(num_leaves == 1 ? &down_kernel<false> : &down_kernel<true>, tiles_by(experts, hidden_),
           context.stream(),
           DownArgs{.experts = experts,
                    .h = rows_view<const Bf16>(h),
                    .h_aligned = is_aligned(h) && own.leaf_cols() % 8 == 0,
                    .leaf_cols = static_cast<int>(own.leaf_cols()),
                    .leaf_stride = static_cast<int>(own.leaf_stride()),
                    .first_leaf = pass * num_leaves,
                    .num_leaves = num_leaves,
                    .slots = slots,
                    .down = rows_view<float>(products)});
  }

  void combine(Context& context, const MoeArgs& args, int pass) const {
    RowsView<const float> shared{};
    if (weights_.shared_down) shared = rows_view<const float>(shared_products());
    launch(&combine_kernel,
           {.grid_x = num_rows_,
            .grid_y = (hidden_ + kCombineCols - 1) / kCombineCols,
            .threads = kCombineThreads,
            .shared_bytes = 0},
           context.stream(),
           CombineArgs{.down = rows_view<const float>(products()),
                       .shared = shared,
                       .experts = args.experts.data(),
                       .weights = args.expert_weights.data(),
                       .experts_per_token = experts_per_token_,
                       .first_expert = weights_.first_expert,
                       .num_experts = weights_.num_local(),
                       .by_expert = weights_.is_by_expert() && num_passes_ > 1,
                       .pass = pass,
                       .num_passes = num_passes_,
                       .waiting = {at<float>(waiting_), hidden_, aligned_hidden()},
                       .out = rows_view<float>(args.out),
                       .aligned = is_aligned(args.out)});
  }

  const ExpertWeights& weights_;
  std::int32_t experts_per_token_;
  std::int64_t num_rows_;
  std::int64_t num_slots_;
  std::int64_t hidden_;
  int num_passes_;
  // Where the parts of the workspace begin, bytes.
  std::int64_t slots_ = 0;
  std::int64_t rows_ = 0;
  std::int64_t num_tiles_ = 0;
  std::int64_t tiles_ = 0;
  std::int64_t h_ = 0;
  std::int64_t down_ = 0;
  std::int64_t shared_h_ = 0;
  std::int64_t shared_down_ = 0;
  std::int64_t waiting_ = 0;
  std::int64_t num_bytes_ = 0;
  std::byte* workspace_ = nullptr;
};

}  // namespace

std::int64_t moe_workspace_bytes(const Context& context,
                                 const ExpertWeights& weights,
                                 std::int32_t experts_per_token,
                                 std::int64_t num_rows) {
  return ExpertRun(context, weights, experts_per_token, num_rows).num_bytes();
}

void moe_experts(Context& context, const MoeArgs& args) {
  check_moe(args, DType::kBFloat16);
  ExpertRun run(context, *args.weights, args.experts_per_token, args.x.rows);
  TESSERA_REQUIRE(static_cast<std::int64_t>(args.workspace.size()) >= run.num_bytes(),
                  "moe_experts: workspace of ", args.workspace.size(), " bytes for ", args.x.rows,
                  " rows, not ", run.num_bytes());
  if (args.x.rows > 0) run.run(context, args);
}

}  // namespace tessera::kernels::cuda

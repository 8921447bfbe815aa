#include "kernels/cuda/embedding/embedding.h"

#include <algorithm>
#include <array>

#include "kernels/cuda/device/launch.h"
#include "kernels/cuda/device/vector.h"
#include "kernels/cuda/device/view.h"
#include "kernels/cuda/device/warp.h"
#include "kernels/op_checks.h"

#ifdef TESSERA_CUDA_EMULATION
#include "common/tensor/float_formats.h"
#else
#include <cuda_fp16.h>
#endif

namespace tessera::kernels::cuda {
namespace {

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr std::size_t kRecipeGroup = 128;  // recipes that are copied at a time

__device__ float half_to_float(std::uint16_t bits) {
#ifdef TESSERA_CUDA_EMULATION
  return float_of_float16(bits);
#else
  return __half2float(__ushort_as_half(bits));
#endif
}

__device__ float table_element(const void* row, DType dtype, std::int64_t col) {
  switch (dtype) {
    case DType::kFloat32: return static_cast<const float*>(row)[col];
    case DType::kFloat16: return half_to_float(static_cast<const std::uint16_t*>(row)[col]);
    case DType::kBFloat16: return to_float(static_cast<const Bf16*>(row)[col]);
    case DType::kInt32: break;
  }
  return 0.0F;
}

// A CTA gathers one row. + 0: -0 is written as +0, so that sums over ranks are exact.
__global__ __launch_bounds__(kThreads) void gather_kernel(const void* table,
                                                          DType dtype,
                                                          std::int64_t table_rows,
                                                          std::int64_t table_row_bytes,
                                                          TokenId first_id,
                                                          const TokenId* ids,  // [out rows]
                                                          RowsView<float> out) {
  const std::int64_t index = std::int64_t{ids[blockIdx.x]} - first_id;
  const bool is_mine = index >= 0 && index < table_rows;
  const char* row = static_cast<const char*>(table) + (is_mine ? index * table_row_bytes : 0);
  float* result = out.row(blockIdx.x);
  for (std::int64_t col = threadIdx.x; col < out.cols; col += kThreads) {
    result[col] = is_mine ? table_element(row, dtype, col) + 0.0F : 0.0F;
  }
}

// A recipe with its weights worked out; what RecipeRow points to lies in host memory.
struct DeviceRecipe {
  std::array<float, EmbeddingRecipe::kMaxIds + 1> weights;  // of the gathered rows, in order
  std::array<float, EmbeddingRecipe::kMaxIds + 1> norm_weights;
  std::int32_t num_gathered;
  bool renormalize;
  std::int64_t first_gathered;
  std::int64_t out_row;
};

DeviceRecipe device_recipe(const RecipeRow& row) {
  const EmbeddingRecipe& recipe = *row.recipe;
  const bool blend = recipe.kind == RecipeKind::kBlend;
  DeviceRecipe result = {};
  result.num_gathered = recipe.num_ids + 1;
  result.renormalize = blend && recipe.renormalize;
  result.first_gathered = row.first_gathered;
  result.out_row = row.out_row;
  const auto base = static_cast<std::size_t>(recipe.num_ids);
  for (std::size_t i = 0; i < base; ++i) {
    result.weights[i] = (blend ? 1.0F : recipe.weight) * recipe.probabilities[i];
    result.norm_weights[i] = recipe.probabilities[i];
  }
  result.weights[base] = blend ? recipe.residual : 1.0F;
  result.norm_weights[base] = recipe.residual;
  return result;
}

// A CTA mixes one row, then scales it to the mean norm of what it is mixed from.
__global__ __launch_bounds__(kThreads) void recipe_kernel(const DeviceRecipe* recipes,
                                                          RowsView<const float> gathered,
                                                          RowsView<float> out) {
  SharedMemory memory;
  const SharedSpan<float> scratch = memory.take<float>(2 * kWarps);
  const DeviceRecipe& recipe = recipes[blockIdx.x];
  float* result = out.row(recipe.out_row);
  float squares = 0.0F;
  for (std::int64_t col = threadIdx.x; col < out.cols; col += kThreads) {
    float sum = 0.0F;
    for (int i = 0; i < recipe.num_gathered; ++i) {
      sum += recipe.weights[i] * gathered.row(recipe.first_gathered + i)[col];
    }
    squares += sum * sum;
    result[col] = sum;
  }
  if (!recipe.renormalize) return;
  const float norm = sqrtf(cta_sum<kThreads>(squares, scratch));
  float wanted = 0.0F;
  for (int i = 0; i < recipe.num_gathered; ++i) {
    float of_row = 0.0F;
    for (std::int64_t col = threadIdx.x; col < out.cols; col += kThreads) {
      const float value = gathered.row(recipe.first_gathered + i)[col];
      of_row += value * value;
    }
    // Two areas in turn: a warp may be one sum ahead.
    of_row = cta_sum<kThreads>(of_row, scratch + (i + 1) % 2 * kWarps);
    wanted += recipe.norm_weights[i] * sqrtf(of_row);
  }
  const float factor = wanted / fmaxf(norm, 1e-12F);
  for (std::int64_t col = threadIdx.x; col < out.cols; col += kThreads) result[col] *= factor;
}

}  // namespace

void gather_embeddings(Context& context,
                       ConstMatrixView table,
                       TokenId first_id,
                       std::span<const TokenId> ids,
                       MatrixView out) {
  check_gather_embeddings(table, ids, out);
  launch(&gather_kernel, {.grid_x = out.rows, .threads = kThreads}, context.stream(), table.data,
         table.dtype, table.rows, table.row_stride * size_of(table.dtype), first_id,
         context.stage(ids), rows_view<float>(out));
}

void apply_recipes(Context& context,
                   std::span<const RecipeRow> rows,
                   ConstMatrixView gathered,
                   MatrixView out) {
  check_recipes(rows, gathered, out);
  std::array<DeviceRecipe, kRecipeGroup> recipes;
  while (!rows.empty()) {
    const std::size_t count = std::min(rows.size(), recipes.size());
    std::transform(rows.begin(), rows.begin() + static_cast<std::ptrdiff_t>(count), recipes.begin(),
                   device_recipe);
    launch(&recipe_kernel,
           {.grid_x = static_cast<std::int64_t>(count),
            .threads = kThreads,
            .shared_bytes = SharedMemory::bytes_of<float>(2 * kWarps)},
           context.stream(), context.stage(std::span<const DeviceRecipe>(recipes).first(count)),
           rows_view<const float>(gathered), rows_view<float>(out));
    rows = rows.subspan(count);
  }
}

}  // namespace tessera::kernels::cuda

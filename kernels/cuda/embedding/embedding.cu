#include "kernels/cuda/embedding/embedding.h"

#include <algorithm>
#include <array>

#include "kernels/cuda/device/kernel_order.h"
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

__device__ float element_to_float(float value) {
  return value;
}
__device__ float element_to_float(Bf16 value) {
  return to_float(value);
}
__device__ float element_to_float(std::uint16_t half) {
  return half_to_float(half);
}

// Vectors of a table's row that a thread takes at once: rows lie far apart, and what a CTA waits
// for is the first of each.
constexpr int kPasses = 4;
constexpr int kCtaCols = kThreads * kPasses * kVector;

template <typename T>
struct alignas(sizeof(T) * kVector) TableVector {
  T values[kVector];
};

// A CTA gathers kCtaCols columns of a row. + 0: -0 is written as +0, so that sums over ranks are
// exact. @tparam T  std::uint16_t: fp16.
template <typename T>
__global__ __launch_bounds__(kThreads) void gather_kernel(RowsView<const T> table,
                                                          std::int64_t table_rows,
                                                          TokenId first_id,
                                                          const TokenId* ids,  // [out rows]
                                                          RowsView<float> out,
                                                          bool aligned) {
  begin_in_order();
  const std::int64_t index = std::int64_t{ids[blockIdx.x]} - first_id;
  const bool is_mine = index >= 0 && index < table_rows;
  const T* row = table.row(is_mine ? index : 0);
  const auto column = [&](int pass) {
    return std::int64_t{blockIdx.y} * kCtaCols +
           (pass * kThreads + static_cast<int>(threadIdx.x)) * kVector;
  };
  TableVector<T> vectors[kPasses] = {};  // of ids of other ranks: zeros
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const std::int64_t col = column(pass);
    if (is_mine && aligned && col + kVector <= out.cols) {
      vectors[pass] = *reinterpret_cast<const TableVector<T>*>(row + col);
    } else if (is_mine) {
#pragma unroll
      for (int i = 0; i < kVector; ++i) {
        if (col + i < out.cols) vectors[pass].values[i] = row[col + i];
      }
    }
  }
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    const auto value = [&](int i) { return element_to_float(vectors[pass].values[i]) + 0.0F; };
    store_vector(out.row(blockIdx.x), column(pass), out.cols, aligned,
                 {value(0), value(1), value(2), value(3)});
  }
}

template <typename T>
void launch_gather(Context& context,
                   const ConstMatrixView& table,
                   TokenId first_id,
                   std::span<const TokenId> ids,
                   const MatrixView& out) {
  launch(&gather_kernel<T>,
         {.grid_x = out.rows,
          .grid_y = (out.cols + kCtaCols - 1) / kCtaCols,
          .threads = kThreads,
          .shared_bytes = 0,
          .starts_early = true},
         context.stream(), rows_view<const T>(table), table.rows, first_id, context.stage(ids),
         rows_view<float>(out), is_aligned(table) && is_aligned(out));
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
  begin_in_order();
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
  switch (table.dtype) {
    case DType::kFloat32: return launch_gather<float>(context, table, first_id, ids, out);
    case DType::kFloat16: return launch_gather<std::uint16_t>(context, table, first_id, ids, out);
    case DType::kBFloat16: return launch_gather<Bf16>(context, table, first_id, ids, out);
    case DType::kInt32: break;
  }
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
            .shared_bytes = SharedMemory::bytes_of<float>(2 * kWarps),
            .starts_early = true},
           context.stream(), context.stage(std::span<const DeviceRecipe>(recipes).first(count)),
           rows_view<const float>(gathered), rows_view<float>(out));
    rows = rows.subspan(count);
  }
}

}  // namespace tessera::kernels::cuda

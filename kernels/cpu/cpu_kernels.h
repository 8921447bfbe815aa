#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/cpu/instruction_set.h"
#include "kernels/ops.h"

namespace tessera::kernels {

/// Rows of a tile at most: 6 x 64 sums fill the 32 vector registers of AVX-512.
inline constexpr std::int64_t kTileRows = 6;

/// Sums of a tile on their way along K, and the left branches of the reduction tree above them.
struct TileState {
  static constexpr int kLevels = 3;  // of a tree over eight leaves
  using Sums = float[kTileRows * 64];

  alignas(64) Sums sums;
  Sums branches[kLevels];
};

/// A step along K of the product of up to six rows of activations with one panel of weights
/// (cpu_matrix.h): a run of pairs of K within one leaf.
///
/// Every sum takes the pairs of its leaf one by one in ascending order, leaves are combined in tree
/// order: a sum depends neither on the other rows and columns of the tile nor on the steps.
struct TileArgs {
  const std::byte* a = nullptr;  ///< bf16 [rows, 2 num_pairs]
  std::int64_t a_stride_bytes = 0;
  std::int64_t rows = 0;               ///< 1 to kTileRows
  const std::byte* weights = nullptr;  ///< of the panel, first pair of the step
  std::int64_t num_pairs = 0;
  std::int32_t leaf = 0;
  bool begins_leaf = true;     ///< else the sums go on from `state`
  bool ends_leaf = true;       ///< else the sums go to `state`
  bool ends_product = true;    ///< the last leaf ends: the sums go to `c`
  TileState* state = nullptr;  ///< of this tile, the same in all of its steps
  float* c = nullptr;          ///< out [rows, width]
  std::int64_t c_stride = 0;   ///< elements
  std::int64_t width = 0;      ///< 1 to 64
  /// Weights to fetch meanwhile, for a later step: 256 bytes every `pairs_per_fetch` pairs.
  const std::byte* fetch = nullptr;
  std::int64_t pairs_per_fetch = 1;
};

/// The product of up to six rows with whole leaves of a panel, every leaf of every row added to a
/// sum of its own: sums[r][leaf][j] += scales[r] * product, 64 j. A product takes pairs one by one
/// in ascending order.
struct AddTileArgs {
  const std::byte* a = nullptr;  ///< bf16 [rows, 2 num_pairs num_leaves]
  std::int64_t a_stride_bytes = 0;
  std::int64_t rows = 0;               ///< 1 to kTileRows
  const std::byte* weights = nullptr;  ///< of the panel, first pair of the first leaf
  std::int64_t num_pairs = 0;          ///< of a leaf
  std::int32_t num_leaves = 0;
  float* const* sums = nullptr;
  const float* scales = nullptr;
  const std::byte* fetch = nullptr;  ///< as in TileArgs
  std::int64_t pairs_per_fetch = 1;
};

/// What makes probabilities of a row of logits.
struct SoftmaxScale {
  float high = 0.0F;  ///< The largest logit.
  float inverse_temperature = 1.0F;
  float inverse_sum = 1.0F;
};

/// The inner loops of the cpu back end, compiled for one instruction set. They run on one thread
/// and check nothing. Elements do not depend on their place in a row.
struct CpuKernels {
  std::string_view device_name;

  void (*product_tile)(const TileArgs& args);
  void (*add_product_tile)(const AddTileArgs& args);

  /// Adds 64 ids, [first_id, first_id + 64), to the partial of a row, as measure_leaf would. Ids
  /// that do not count are at -inf. `tile` is 64-byte aligned; first_id is a multiple of 16.
  void (*measure_tile)(const float* tile,
                       TokenId first_id,
                       const Measure& measure,
                       MeasurePartial& partial);

  /// out[0 .. cols) = fp32 of a row of floating dtype, -0 as +0.
  void (*widen)(const void* row, DType dtype, std::int64_t cols, float* out);
  void (*add)(float* sum, const float* x, std::int64_t cols);
  void (*rms_norm)(const float* x, std::span<const float> weight, float eps, std::uint16_t* out);
  void (*add_rms_norm)(float* residual,
                       const float* delta,
                       std::span<const float> weight,
                       float eps,
                       std::uint16_t* out);
  /// Norm with one rounding: weight [cols] or null.
  void (*rms_norm_once)(
      const float* x, const float* weight, std::int64_t cols, float eps, float* out);
  void (*rms_norm_once_bfloat16)(
      const float* x, const float* weight, std::int64_t cols, float eps, std::uint16_t* out);
  void (*scale)(float* x, float factor, std::int64_t cols);
  void (*softcap)(float* x, float cap, std::int64_t cols);
  void (*softmax)(const float* x, const SoftmaxScale& scale, std::int64_t cols, std::uint16_t* out);
  void (*silu_mul)(const float* gate, const float* up, std::int64_t cols, std::uint16_t* out);
  void (*gelu_mul)(const float* gate, const float* up, std::int64_t cols, std::uint16_t* out);
  void (*apply_recipe)(const RecipeRow& row, const ConstMatrixView& gathered, float* out);
};

extern const CpuKernels kAvx2Kernels;
extern const CpuKernels kAvx512Kernels;

inline const CpuKernels& cpu_kernels(InstructionSet instruction_set) {
  return instruction_set == InstructionSet::kAvx512 ? kAvx512Kernels : kAvx2Kernels;
}

/// t + noise of an id in fp64 (measurement.h), for the few ids that measure_tile cannot rule out.
/// @param word  the random word of the id.  Compiled for every machine.
double exact_score(float logit, std::uint32_t word, float temperature);

}  // namespace tessera::kernels

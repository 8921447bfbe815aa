#pragma once

#include <cstdint>

#include "kernels/cuda/device/bfloat16.h"
#include "kernels/cuda/device/target.h"

namespace tessera::kernels::cuda {

/// Four neighbours of a row: what a thread loads and stores at once.
inline constexpr int kVector = 4;

/// Elements [col, col + 4) of a row of `cols`; zeros behind its end.
/// @param aligned  The row begins on 16 bytes.
__device__ inline float4 load_vector(const float* row,
                                     std::int64_t col,
                                     std::int64_t cols,
                                     bool aligned) {
  if (aligned && col + kVector <= cols) return *reinterpret_cast<const float4*>(row + col);
  const auto element = [&](int i) { return col + i < cols ? row[col + i] : 0.0F; };
  return {element(0), element(1), element(2), element(3)};
}

__device__ inline void store_vector(
    float* row, std::int64_t col, std::int64_t cols, bool aligned, float4 value) {
  if (aligned && col + kVector <= cols) {
    *reinterpret_cast<float4*>(row + col) = value;
    return;
  }
  const float elements[kVector] = {value.x, value.y, value.z, value.w};
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    if (col + i < cols) row[col + i] = elements[i];
  }
}

/// The same, rounded to bf16. @param aligned  The row begins on 8 bytes.
__device__ inline void store_vector(
    Bf16* row, std::int64_t col, std::int64_t cols, bool aligned, float4 value) {
  if (aligned && col + kVector <= cols) {
    *reinterpret_cast<uint2*>(row + col) =
        uint2{pack_bf16(value.x, value.y), pack_bf16(value.z, value.w)};
    return;
  }
  const float elements[kVector] = {value.x, value.y, value.z, value.w};
#pragma unroll
  for (int i = 0; i < kVector; ++i) {
    if (col + i < cols) row[col + i] = to_bf16(elements[i]);
  }
}

}  // namespace tessera::kernels::cuda

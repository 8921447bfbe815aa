#pragma once

#include <bit>

#include "kernels/cuda/device/shared_memory.h"
#include "kernels/cuda/device/target.h"

namespace tessera::kernels::cuda {

/// The value of the lane whose number differs in the bits of `mask`.
/// @tparam T  Plain data of whole 32-bit words.
template <typename T>
__device__ T shuffle_xor(T value, int mask) {
  struct Words {
    unsigned word[sizeof(T) / sizeof(unsigned)];
  };
  auto words = std::bit_cast<Words>(value);
  for (unsigned& word : words.word) word = __shfl_xor_sync(kAllLanes, word, mask);
  return std::bit_cast<T>(words);
}

/// combine() of one value per lane, in a tree that is the same for every warp; equal on all lanes
/// if combine is commutative.
template <typename T, typename Combine>
__device__ T warp_reduce(T value, const Combine& combine) {
  for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
    value = combine(value, shuffle_xor(value, distance));
  }
  return value;
}

__device__ inline float warp_sum(float value) {
  return warp_reduce(value, [](float a, float b) { return a + b; });
}
__device__ inline float warp_max(float value) {
  return warp_reduce(value, [](float a, float b) { return fmaxf(a, b); });
}

/// combine() over the threads of a CTA, on every thread; the order depends on the CTA's size alone.
/// @param scratch  [kThreads / kWarpSize], free again on return.
template <int kThreads, typename T, typename Combine>
__device__ T cta_reduce(T value, SharedSpan<T> scratch, const Combine& combine) {
  value = warp_reduce(value, combine);
  if (lane_index() == 0) scratch[warp_index()] = value;
  __syncthreads();
  value = scratch[0];
  for (int warp = 1; warp < kThreads / kWarpSize; ++warp) {
    const T other = scratch[warp];
    value = combine(value, other);
  }
  __syncthreads();
  return value;
}

/// Sum over the threads of a CTA, on every thread; the order depends on the CTA's size alone.
/// @param scratch  [kThreads / kWarpSize], free again after the next barrier.
template <int kThreads>
__device__ float cta_sum(float value, SharedSpan<float> scratch) {
  constexpr int kWarps = kThreads / kWarpSize;
  value = warp_sum(value);
  if constexpr (kWarps == 1) return value;
  if (lane_index() == 0) scratch[warp_index()] = value;
  __syncthreads();
  float sum = 0.0F;
  for (int warp = 0; warp < kWarps; ++warp) sum += scratch[warp];
  return sum;
}

}  // namespace tessera::kernels::cuda

#pragma once

#include <cstdint>

#include "kernels/cuda/device/target.h"

#ifdef TESSERA_CUDA_EMULATION
#include "common/tensor/float_formats.h"
#else
#include <cuda_bf16.h>
#endif

namespace tessera::kernels::cuda {

__device__ inline float to_float(float value) {
  return value;
}
__device__ inline float to_float(Bf16 value) {
#ifdef TESSERA_CUDA_EMULATION
  return float_of_bfloat16(value.bits);
#else
  return __uint_as_float(static_cast<unsigned>(value.bits) << 16);
#endif
}

/// Nearest, ties to even.
__device__ inline Bf16 to_bf16(float value) {
#ifdef TESSERA_CUDA_EMULATION
  return {bfloat16_of_float(value)};
#else
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#endif
}

/// Two numbers in one register, `low` in the lower half: what tensor cores take.
__device__ inline std::uint32_t pack_bf16(float low, float high) {
#ifdef TESSERA_CUDA_EMULATION
  return std::uint32_t{to_bf16(low).bits} | (std::uint32_t{to_bf16(high).bits} << 16);
#else
  std::uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
#endif
}
__device__ inline float low_of(std::uint32_t packed) {
  return to_float(Bf16{static_cast<std::uint16_t>(packed & 0xFFFFU)});
}
__device__ inline float high_of(std::uint32_t packed) {
  return to_float(Bf16{static_cast<std::uint16_t>(packed >> 16)});
}

/// Two neighbours of a row that begins anywhere, rounded.
__device__ inline void store_pair(Bf16* to, float low, float high) {
  const std::uint32_t pair = pack_bf16(low, high);
  if (reinterpret_cast<std::uintptr_t>(to) % sizeof(pair) == 0) {
    *reinterpret_cast<std::uint32_t*>(to) = pair;
    return;
  }
  to[0] = {static_cast<std::uint16_t>(pair & 0xFFFFU)};
  to[1] = {static_cast<std::uint16_t>(pair >> 16)};
}

/// `value` as an element of T: float or Bf16.
template <typename T>
__device__ T element_of(float value) {
  if constexpr (sizeof(T) == sizeof(float)) {
    return value;
  } else {
    return to_bf16(value);
  }
}

}  // namespace tessera::kernels::cuda

#pragma once

/// What kernels are compiled for: a GPU (nvcc), or this machine's processor with the stand-in of
/// kernels/cuda/emulation. Kernels are written once, in CUDA's own words; what the two do
/// differently (shared memory, asynchronous copies, tensor cores, launches) has one wrapper each in
/// this folder.

#ifdef TESSERA_CUDA_EMULATION
#include "kernels/cuda/emulation/execution.h"
#else
#include <cuda_runtime.h>
#endif

#include "kernels/cuda/device/types.h"

namespace tessera::kernels::cuda {

inline constexpr int kWarpSize = 32;
inline constexpr unsigned kAllLanes = 0xFFFFFFFFU;

__device__ inline int lane_index() {
  return static_cast<int>(threadIdx.x) % kWarpSize;
}
__device__ inline int warp_index() {
  return static_cast<int>(threadIdx.x) / kWarpSize;
}

}  // namespace tessera::kernels::cuda

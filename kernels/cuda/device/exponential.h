#pragma once

#include <cmath>

#include "kernels/cuda/device/target.h"

namespace tessera::kernels::cuda {

/// 2^x in one instruction: relative error 2^-22; results below 2^-126 are 0, that of -inf too.
__device__ inline float fast_exp2(float x) {
#ifdef TESSERA_CUDA_EMULATION
  return std::exp2(x);
#else
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
#endif
}

}  // namespace tessera::kernels::cuda

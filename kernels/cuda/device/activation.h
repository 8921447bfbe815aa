#pragma once

#include "kernels/cuda/device/target.h"
#include "kernels/moe.h"

namespace tessera::kernels::cuda {

__device__ inline float activate(Activation activation, float x) {
  if (activation == Activation::kSilu) return x / (1.0F + __expf(-x));
  constexpr float kRootTwoOverPi = 0.7978845608F;
  return 0.5F * x * (1.0F + tanhf(kRootTwoOverPi * (x + 0.044715F * x * x * x)));
}

}  // namespace tessera::kernels::cuda

#pragma once

#include "kernels/cuda/device/target.h"

namespace tessera::kernels::cuda {

/// Lets the next kernel of the stream begin, if it was launched to start early, once every CTA has
/// called this or ended. GPUs before sm_90 have no such thing.
__device__ inline void release_next_kernel() {
#if !defined(TESSERA_CUDA_EMULATION) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/// In a kernel that was launched to start early: waits until the kernels before it are done, what
/// they wrote being there.
__device__ inline void await_previous_kernel() {
#if !defined(TESSERA_CUDA_EMULATION) && __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

}  // namespace tessera::kernels::cuda

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

/// What every thread of a kernel that was launched to start early calls: waits until the kernels
/// before it are done, what they wrote being there. Before it, a kernel reads constants (weights,
/// what was copied for an earlier kernel that did not start early), and writes nothing.
__device__ inline void await_previous_kernel() {
#ifdef TESSERA_CUDA_EMULATION
  emulation::await_previous_kernel();
#elif __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/// Both: the beginning of kernels that have nothing to do before.
__device__ inline void begin_in_order() {
  release_next_kernel();
  await_previous_kernel();
}

}  // namespace tessera::kernels::cuda

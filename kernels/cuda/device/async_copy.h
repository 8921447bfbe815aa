#pragma once

#include "kernels/cuda/device/shared_memory.h"

namespace tessera::kernels::cuda {

/// Copies 16 bytes from global to shared memory behind the thread's back; zeros if `present` is
/// false (`from` is then not read). Done after async_wait(), for other threads after a barrier
/// behind it. Both addresses on 16 bytes.
template <typename T>
__device__ void async_copy_16(SharedSpan<T> to, const void* from, bool present = true) {
#ifdef TESSERA_CUDA_EMULATION
  emulation::async_copy(to.address(), from, 16, present);
#else
  const auto address = static_cast<unsigned>(__cvta_generic_to_shared(to.address()));
  const int bytes = present ? 16 : 0;
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(address), "l"(from), "r"(bytes)
               : "memory");
#endif
}

/// Closes the group of copies that this thread has begun since the last call.
__device__ inline void async_commit() {
#ifdef TESSERA_CUDA_EMULATION
  emulation::async_commit();
#else
  asm volatile("cp.async.commit_group;" ::: "memory");
#endif
}

/// Waits until at most kPending of this thread's groups are under way.
template <int kPending>
__device__ void async_wait() {
#ifdef TESSERA_CUDA_EMULATION
  emulation::async_wait(kPending);
#else
  asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#endif
}

}  // namespace tessera::kernels::cuda

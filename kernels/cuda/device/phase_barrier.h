#pragma once

#include <cstdint>

#include "kernels/cuda/device/shared_memory.h"

namespace tessera::kernels::cuda {

/// By which some threads of a CTA tell others that something in shared memory is done, without all
/// of them meeting: an mbarrier. It completes phase after phase, each when num_arrivals have come;
/// what was done before them is done for those that have waited.
class PhaseBarrier {
 public:
  __device__ explicit PhaseBarrier(SharedSpan<std::uint64_t> place) : place_(place) {}

  /// By one thread, once; usable behind the next barrier of the CTA.
  __device__ void init(int num_arrivals) const {
#ifdef TESSERA_CUDA_EMULATION
    emulation::init_phase_barrier(place_.address(), num_arrivals);
#else
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(address()), "r"(num_arrivals)
                 : "memory");
#endif
  }

  /// One arrival, by a whole warp.
  __device__ void arrive_as_warp() const {
    __syncwarp();
    if (lane_index() == 0) arrive();
  }

  /// An arrival of each thread, by whole warps.
  __device__ void arrive_as_threads() const {
    __syncwarp();
    arrive();
  }

  /// The same, later: when the async copies of the thread are done, which nothing else waits for.
  /// They alone are done then, no other stores.
  __device__ void arrive_with_copies() const {
#ifdef TESSERA_CUDA_EMULATION
    emulation::async_commit();
    emulation::async_wait(0);
    __syncwarp();
    arrive();
#else
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(address())
                 : "memory");
#endif
  }

  /// Waits until the phase of that parity, 0 for the first, is complete: at once, if the one after
  /// it is under way. A phase is waited for before the next but one begins.
  __device__ void wait(unsigned parity) const {
#ifdef TESSERA_CUDA_EMULATION
    emulation::wait_for_phase(place_.address(), parity);
#else
    asm volatile(
        "{\n"
        ".reg .pred done;\n"
        "again:\n"
        "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
        "@done bra.uni finished;\n"
        "bra.uni again;\n"
        "finished:\n"
        "}" ::"r"(address()),
        "r"(parity)
        : "memory");
#endif
  }

 private:
  __device__ void arrive() const {
#ifdef TESSERA_CUDA_EMULATION
    emulation::arrive_at_phase(place_.address());
#else
    asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address()) : "memory");
#endif
  }

#ifndef TESSERA_CUDA_EMULATION
  __device__ unsigned address() const {
    return static_cast<unsigned>(__cvta_generic_to_shared(place_.address()));
  }
#endif

  SharedSpan<std::uint64_t> place_;
};

/// Which stage of a ring comes next, and which phase of its barriers.
template <int kStages>
struct RingPlace {
  int stage = 0;
  unsigned parity = 0;

  __device__ void advance() {
    stage = stage + 1 < kStages ? stage + 1 : 0;
    if (stage == 0) parity ^= 1U;
  }
};

}  // namespace tessera::kernels::cuda

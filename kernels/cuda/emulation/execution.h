#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <source_location>
#include <type_traits>

/// A stand-in for CUDA's execution model on the host, for tests of kernels without a GPU. The
/// threads of a CTA are fibers of one thread; they switch only where CUDA lets threads meet: at
/// barriers, shuffles and tensor-core operations. Which runs first changes from one stretch to the
/// next, so that code which counts on an order fails. Threads of one warp that wait at different
/// places, or leave while others wait, are an error that names the places.
///
/// Include nothing but kernels/cuda/device/target.h; this file defines CUDA's own words.

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __restrict__ __restrict

namespace tessera::kernels::cuda::emulation {

struct Index3 {
  unsigned x = 1;
  unsigned y = 1;
  unsigned z = 1;
};

/// Where a thread waits.
using Site = std::source_location;

const Index3& thread_index();
const Index3& cta_index();
const Index3& cta_size();
const Index3& grid_size();

void sync_cta(const Site& site);
void await_previous_kernel();
void sync_warp(unsigned lanes, const Site& site);

/// What a thread hands to the other lanes of its warp.
inline constexpr int kExchangeBytes = 32;

/// Gives this lane's bytes to the warp and waits for those of all lanes.
/// @return [kWarpSize][kExchangeBytes], valid until this lane's next exchange.
const std::byte* exchange(const void* mine, int num_bytes, unsigned lanes, const Site& site);

template <typename T>
T value_of_lane(const std::byte* all, int lane) {
  static_assert(sizeof(T) <= kExchangeBytes && std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, all + lane * kExchangeBytes, sizeof value);
  return value;
}

inline int this_lane() {
  return static_cast<int>(thread_index().x) % 32;
}

}  // namespace tessera::kernels::cuda::emulation

#define threadIdx (::tessera::kernels::cuda::emulation::thread_index())
#define blockIdx (::tessera::kernels::cuda::emulation::cta_index())
#define blockDim (::tessera::kernels::cuda::emulation::cta_size())
#define gridDim (::tessera::kernels::cuda::emulation::grid_size())

using TesseraSite = ::tessera::kernels::cuda::emulation::Site;

inline void __syncthreads(const TesseraSite& site = TesseraSite::current()) {
  ::tessera::kernels::cuda::emulation::sync_cta(site);
}
inline void __syncwarp(unsigned lanes = 0xFFFFFFFFU,
                       const TesseraSite& site = TesseraSite::current()) {
  ::tessera::kernels::cuda::emulation::sync_warp(lanes, site);
}
template <typename T>
T __shfl_sync(unsigned lanes,
              T value,
              int source,
              const TesseraSite& site = TesseraSite::current()) {
  namespace emulation = ::tessera::kernels::cuda::emulation;
  const std::byte* all = emulation::exchange(&value, sizeof value, lanes, site);
  return emulation::value_of_lane<T>(all, source % 32);
}
template <typename T>
T __shfl_xor_sync(unsigned lanes,
                  T value,
                  int mask,
                  const TesseraSite& site = TesseraSite::current()) {
  return __shfl_sync(lanes, value, ::tessera::kernels::cuda::emulation::this_lane() ^ mask, site);
}
inline unsigned __ballot_sync(unsigned lanes,
                              int predicate,
                              const TesseraSite& site = TesseraSite::current()) {
  namespace emulation = ::tessera::kernels::cuda::emulation;
  const std::byte* all = emulation::exchange(&predicate, sizeof predicate, lanes, site);
  unsigned votes = 0;
  for (int lane = 0; lane < 32; ++lane) {
    const bool votes_yes =
        ((lanes >> lane) & 1U) != 0 && emulation::value_of_lane<int>(all, lane) != 0;
    if (votes_yes) votes |= 1U << lane;
  }
  return votes;
}
inline int __any_sync(unsigned lanes,
                      int predicate,
                      const TesseraSite& site = TesseraSite::current()) {
  return __ballot_sync(lanes, predicate, site) != 0 ? 1 : 0;
}
inline int __all_sync(unsigned lanes,
                      int predicate,
                      const TesseraSite& site = TesseraSite::current()) {
  return __ballot_sync(lanes, predicate, site) == lanes ? 1 : 0;
}

inline unsigned __reduce_add_sync(unsigned lanes,
                                  unsigned value,
                                  const TesseraSite& site = TesseraSite::current()) {
  namespace emulation = ::tessera::kernels::cuda::emulation;
  const std::byte* all = emulation::exchange(&value, sizeof value, lanes, site);
  unsigned sum = 0;
  for (int lane = 0; lane < 32; ++lane) {
    if (((lanes >> lane) & 1U) != 0) sum += emulation::value_of_lane<unsigned>(all, lane);
  }
  return sum;
}

template <typename T>
T min(T a, T b) {
  return std::min(a, b);
}
template <typename T>
T max(T a, T b) {
  return std::max(a, b);
}
inline int __popc(unsigned value) {
  return __builtin_popcount(value);
}
inline int __ffs(int value) {
  return __builtin_ffs(value);
}
template <typename T>
T __ldg(const T* address) {
  return *address;
}
template <typename T>
T atomicAdd(T* address, T value) {  // of global memory: nothing else runs meanwhile
  const T before = *address;
  *address = before + value;
  return before;
}
inline float __expf(float x) {
  return std::exp(x);
}
inline float __logf(float x) {
  return std::log(x);
}
inline float rsqrtf(float x) {
  return 1.0F / std::sqrt(x);
}
inline float __uint_as_float(unsigned bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) float2 {
  float x, y;
};

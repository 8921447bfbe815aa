#pragma once

#include <cstdint>

#ifndef TESSERA_CUDA_EMULATION
#include <cuda_runtime_api.h>
#endif

/// What host code of the back end needs to know of the device.
namespace tessera::kernels::cuda {

#ifdef TESSERA_CUDA_EMULATION
using Stream = void*;  // nothing is asynchronous
using Event = void*;
#else
using Stream = cudaStream_t;
using Event = cudaEvent_t;
#endif

/// Storage of a bf16 number.
struct Bf16 {
  std::uint16_t bits;
};

}  // namespace tessera::kernels::cuda

#pragma once

#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/cuda/device/types.h"

namespace tessera::kernels::cuda {

/// Zero-filled memory of the current GPU. @throws Error{kDevice} naming the bytes asked for and
/// left, and what to lower.
Buffer allocate_device(std::int64_t num_bytes);

/// Memory that the current GPU has left.
std::int64_t free_device_bytes();

/// Host memory that the GPU's copy engines read without a detour.
Buffer allocate_pinned(std::int64_t num_bytes);

/// A new stream of the current GPU, which lives until the process ends.
Stream create_stream();

/// Between host and device, either way, behind what the stream has; pinned host memory must not
/// change until then.
void copy_async(const void* from, void* to, std::int64_t num_bytes, Stream stream);

/// Waits for everything the stream has. @throws Error{kDevice} for what failed in it.
void synchronize(Stream stream);

struct DeviceProperties {
  int num_multiprocessors = 1;
  int compute_capability = 0;  ///< 90: 9.0
};
DeviceProperties device_properties();

#ifdef TESSERA_CUDA_EMULATION
/// Of the GPU that is emulated: 80, or 90 for kernels that only sm_90a has.
extern int emulated_compute_capability;
#endif

}  // namespace tessera::kernels::cuda

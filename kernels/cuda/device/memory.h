#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

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

/// Called again and again during a wait, with the time it has taken so far; may throw.
using WaitWatch = std::function<void(std::chrono::milliseconds)>;

/// Waits for everything the stream has. @param watch  May be null.
/// @throws Error{kDevice} for what failed in it; what `watch` throws.
void synchronize(Stream stream, const WaitWatch& watch);

/// A new event, which lives until the process ends; it has happened.
Event create_event();

/// The event happens when the stream has come this far.
void record(Event event, Stream stream);

bool has_happened(Event event);

struct DeviceProperties {
  int num_multiprocessors = 1;
  int compute_capability = 0;  ///< 90: 9.0
  std::string name;            ///< Unique on this machine: its address on the PCI bus.
};
DeviceProperties device_properties();

#ifdef TESSERA_CUDA_EMULATION
/// Of the GPU that is emulated: 80, or 90 for kernels that only sm_90a has.
extern int emulated_compute_capability;
#endif

}  // namespace tessera::kernels::cuda

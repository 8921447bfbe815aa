#pragma once

#include <cstdint>

namespace tessera::kernels {

/// Bytes this process could still allocate without swapping: MemAvailable of /proc/meminfo, less
/// where a cgroup limits it.
/// @throws Error{kDevice} if the system does not say.
std::int64_t available_memory_bytes();

}  // namespace tessera::kernels

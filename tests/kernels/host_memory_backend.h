#pragma once

#include <memory>

#include "kernels/ops.h"

namespace tessera::kernels {

/// A back end with memory of its own, as one that works on the host's: copies the matrices and
/// vectors of every operation to the device, and those that it may write back, strides and bait
/// included. For case lists, whose data lies in host memory.
std::unique_ptr<Backend> with_host_memory(std::unique_ptr<Backend> device);

}  // namespace tessera::kernels

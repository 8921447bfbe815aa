#pragma once

#include <memory>

#include "kernels/ops.h"

namespace tessera::kernels {

/// The CUDA back end that the executable has been linked for, as one that works on host memory:
/// the emulated one, or that of the GPU.
std::unique_ptr<Backend> create_cuda(bool deterministic);

}  // namespace tessera::kernels

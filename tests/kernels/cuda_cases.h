#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace tessera::kernels {

/// The CUDA back end that the executable has been linked for, as one that works on host memory:
/// the emulated one, or that of the GPU.
/// @param compute_capability  One of compute_capabilities().
std::unique_ptr<Backend> create_cuda(bool deterministic, int compute_capability);

/// Of the GPUs that kernels differ between; 0: that of the machine.
std::vector<int> compute_capabilities();

/// Why this machine cannot run what needs a GPU. Empty: it can.
std::string missing_gpu();

}  // namespace tessera::kernels

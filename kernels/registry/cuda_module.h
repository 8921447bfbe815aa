#pragma once

#include <memory>

#include "kernels/backend_registry.h"

namespace tessera::kernels {

/// The CUDA back end, which is a shared library of its own, so that the programs start on machines
/// without a driver. It lies in ../lib beside the program's folder.
/// @throws Error{kDevice} without a driver, a GPU, or the library, saying which.
std::unique_ptr<Backend> load_cuda_backend(const BackendOptions& options);

}  // namespace tessera::kernels

#pragma once

#include <memory>

#include "kernels/ops.h"

namespace tessera::kernels::cuda {

struct CudaOptions {
  /// A row's bits depend on its own inputs alone (kernels/ops.h), for every number of ranks. Costs
  /// speed: own GEMM kernels, fixed splits.
  bool deterministic = false;
};

/// bf16 weights, activations and caches, fp32 sums, on the current GPU; operations are queued on a
/// stream of its own.
/// @throws Error{kDevice} without a usable GPU.
std::unique_ptr<Backend> create_cuda_backend(const CudaOptions& options);

}  // namespace tessera::kernels::cuda

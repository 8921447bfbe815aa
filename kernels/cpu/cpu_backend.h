#pragma once

#include <memory>

#include "kernels/backend_registry.h"

namespace tessera::kernels {

/// bf16 weights, activations and caches, fp32 sums. Instruction sets: "avx512" and "avx2"
/// (instruction_set.h). The calling thread is pinned for good when CPUs are given.
std::unique_ptr<Backend> create_cpu_backend(const BackendOptions& options);

}  // namespace tessera::kernels

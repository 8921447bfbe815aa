#pragma once

#include <memory>

#include "kernels/backend_registry.h"

namespace tessera::kernels {

/// The truth for tests: fp32 storage, fp64 accumulation, plain loops, one thread. Sums that
/// sharding cuts are rounded to fp32 at every leaf and branch, so that ranks agree bit for bit.
std::unique_ptr<Backend> create_reference_backend(const BackendOptions& options);

}  // namespace tessera::kernels

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/cuda_cases.h"
#include "tests/kernels/host_memory_backend.h"

namespace tessera::kernels {

std::unique_ptr<Backend> create_cuda(bool deterministic, int) {
  return with_host_memory(cuda::create_cuda_backend({.deterministic = deterministic}));
}

std::vector<int> compute_capabilities() {
  return {0};
}

// The contract holds bit for bit in deterministic mode.
std::unique_ptr<Backend> BackendCase::create(std::int32_t) const {
  return create_cuda(/*deterministic=*/true, /*compute_capability=*/0);
}

std::vector<BackendCase> backend_cases() {
  return {{"cuda", "deterministic"}};
}

std::string missing_for(const BackendCase&) {
  return missing_gpu();
}

}  // namespace tessera::kernels

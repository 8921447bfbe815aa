#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device/memory.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/cuda_cases.h"

namespace tessera::kernels {

std::unique_ptr<Backend> create_cuda(bool deterministic, int compute_capability) {
  cuda::emulated_compute_capability = compute_capability;
  return cuda::create_cuda_backend({.deterministic = deterministic});
}

std::vector<int> compute_capabilities() {
  return {80, 90};
}

// The contract holds bit for bit in deterministic mode.
std::unique_ptr<Backend> BackendCase::create(std::int32_t) const {
  return create_cuda(/*deterministic=*/true, /*compute_capability=*/80);
}

std::vector<BackendCase> backend_cases() {
  return {{"cuda", "emulated"}};
}

std::string missing_for(const BackendCase&) {
  return "";
}

}  // namespace tessera::kernels

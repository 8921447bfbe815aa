#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/cuda_cases.h"

namespace tessera::kernels {

std::unique_ptr<Backend> create_cuda(bool deterministic) {
  return cuda::create_cuda_backend({.deterministic = deterministic});
}

// The contract holds bit for bit in deterministic mode.
std::unique_ptr<Backend> BackendCase::create(std::int32_t) const {
  return create_cuda(/*deterministic=*/true);
}

std::vector<BackendCase> backend_cases() {
  return {{"cuda", "emulated"}};
}

std::string missing_for(const BackendCase&) {
  return "";
}

}  // namespace tessera::kernels

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/backend_fixture.h"

namespace tessera::kernels {

// The contract holds bit for bit in deterministic mode.
std::unique_ptr<Backend> BackendCase::create(std::int32_t) const {
  return cuda::create_cuda_backend({.deterministic = true});
}

std::vector<BackendCase> backend_cases() {
  return {{"cuda", "emulated"}};
}

std::string missing_for(const BackendCase&) {
  return "";
}

}  // namespace tessera::kernels

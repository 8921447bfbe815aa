#include "tests/kernels/backend_fixture.h"
#include "tests/kernels/cuda_cases.h"

// For tests of whole models, which load the module as a worker does.
namespace tessera::kernels {

std::vector<BackendCase> backend_cases() {
  return {{"cuda", ""}, {"cuda", "deterministic"}};
}

std::string missing_for(const BackendCase&) {
  return missing_gpu();
}

}  // namespace tessera::kernels

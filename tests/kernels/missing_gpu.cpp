#include <cuda_runtime_api.h>

#include "tests/kernels/cuda_cases.h"

namespace tessera::kernels {

std::string missing_gpu() {
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess) return cudaGetErrorString(status);
  return count > 0 ? "" : "this machine has no GPU";
}

}  // namespace tessera::kernels

#include <cuda_runtime_api.h>

#include "common/base/error.h"
#include "kernels/backend_registry.h"
#include "kernels/cuda/cuda_backend.h"
#include "kernels/cuda/device/cuda_check.h"
#include "kernels/cuda/device/memory.h"

namespace {

constexpr int kOldestCapability = 80;

void select_device(std::int32_t device) {
  int count = 0;
  TESSERA_CUDA_CHECK(cudaGetDeviceCount(&count));
  TESSERA_CHECK_AS(tessera::ErrorCode::kDevice, count > 0, "this machine has no GPU");
  TESSERA_CUDA_CHECK(cudaSetDevice(device % count));
  const int capability = tessera::kernels::cuda::device_properties().compute_capability;
  TESSERA_CHECK_AS(tessera::ErrorCode::kDevice, capability >= kOldestCapability, "GPU ",
                   device % count, " has compute capability ", capability / 10, ".",
                   capability % 10, "; Tessera needs 8.0 or newer");
}

}  // namespace

/// What kernels/registry/cuda_module.cpp looks for. The caller owns the result.
extern "C" __attribute__((visibility("default"))) tessera::kernels::Backend*
tessera_create_cuda_backend(const tessera::kernels::BackendOptions& options) {
  select_device(options.device);
  return tessera::kernels::cuda::create_cuda_backend({.deterministic = options.deterministic})
      .release();
}

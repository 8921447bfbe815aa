#pragma once

#include <cstdint>
#include <utility>

#include "kernels/cuda/device/target.h"

#ifdef TESSERA_CUDA_EMULATION
#include <tuple>

#include "kernels/cuda/emulation/recording.h"
#include "kernels/cuda/emulation/run_grid.h"
#else
#include "kernels/cuda/device/cuda_check.h"
#include "kernels/cuda/device/memory.h"
#endif

namespace tessera::kernels::cuda {

struct LaunchShape {
  std::int64_t grid_x = 1;
  std::int64_t grid_y = 1;
  int threads = kWarpSize;  ///< Of a CTA, a multiple of kWarpSize.
  int shared_bytes = 0;     ///< Dynamic shared memory of a CTA.
  /// CTAs begin while earlier kernels of the stream run, from sm_90 on: they wait by
  /// await_previous_kernel() of kernel_order.h.
  bool starts_early = false;
};

/// Runs `kernel` on a grid, behind what `stream` has. An empty grid is no launch.
/// @throws Error{kDevice} if the GPU refuses.
template <typename... Parameters, typename... Arguments>
void launch(void (*kernel)(Parameters...),
            const LaunchShape& shape,
            Stream stream,
            Arguments&&... arguments) {
  if (shape.grid_x == 0 || shape.grid_y == 0) return;
#ifdef TESSERA_CUDA_EMULATION
  (void)stream;
  const auto run = [kernel, shape, values = std::tuple<Parameters...>(arguments...)] {
    emulation::run_grid(
        static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y),
        static_cast<unsigned>(shape.threads), shape.shared_bytes,
        [&] { std::apply(kernel, values); }, shape.starts_early);
  };
  if (auto* work = emulation::recorded_work()) {
    work->push_back(run);
  } else {
    run();
  }
#else
  constexpr int kDefaultSharedBytes = 48 << 10;
  if (shape.shared_bytes > kDefaultSharedBytes) {
    TESSERA_CUDA_CHECK(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                            shape.shared_bytes));
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(static_cast<unsigned>(shape.grid_x), static_cast<unsigned>(shape.grid_y));
  config.blockDim = dim3(static_cast<unsigned>(shape.threads));
  config.dynamicSmemBytes = static_cast<std::size_t>(shape.shared_bytes);
  config.stream = stream;
  static const bool can_start_early = device_properties().compute_capability >= 90;
  cudaLaunchAttribute early = {};
  early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
  early.val.programmaticStreamSerializationAllowed = 1;
  config.attrs = &early;
  config.numAttrs = shape.starts_early && can_start_early ? 1 : 0;
  TESSERA_CUDA_CHECK(cudaLaunchKernelEx(&config, kernel, std::forward<Arguments>(arguments)...));
#endif
}

}  // namespace tessera::kernels::cuda

#pragma once

#include <cstdint>

#include "kernels/cuda/emulation/execution.h"

namespace tessera::kernels::cuda::emulation {

/// See kernels/cuda/device/matrix_unit.h. Sums in fp32, in order of K.
void multiply_16x8x16(float (&c)[4],
                      const std::uint32_t (&a)[4],
                      const std::uint32_t (&b)[2],
                      const Site& site = Site::current());

void load_tiles(std::uint32_t (&r)[4],
                const void* row,
                bool transposed,
                const Site& site = Site::current());

}  // namespace tessera::kernels::cuda::emulation

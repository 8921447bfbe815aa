#pragma once

#include <cstdint>

#include "kernels/cuda/emulation/execution.h"

namespace tessera::kernels::cuda::emulation {

// Products of device/warpgroup_unit.h. They read shared memory, and write c, when they are waited
// for; until then c is NaN.

void multiply_rows(float* c,
                   int cols,
                   const void* a,
                   const void* b,
                   bool adds,
                   const Site& site = Site::current());

void multiply_cols(float* c,
                   int cols,
                   const std::uint32_t (&a)[4],
                   const void* b,
                   int panel_rows,
                   const Site& site = Site::current());

void commit_products();

/// Until at most `num_pending` groups are under way.
void finish_products(int num_pending);

}  // namespace tessera::kernels::cuda::emulation

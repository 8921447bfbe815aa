#pragma once

#include "benchmarks/kernels/thread_group.h"

namespace tessera::benchmarks {

/// Best of several short measurements, all threads of the group together.
struct MachineLimits {
  double bfloat16_flops = 0.0;  ///< vdpbf16ps per second times its 64 operations; 0 without it
  double float32_flops = 0.0;   ///< 256-bit FMA
  double read_bytes = 0.0;      ///< per second, from memory (192 MB in huge pages)
};

MachineLimits measure_limits(ThreadGroup& threads);

}  // namespace tessera::benchmarks

#pragma once

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>

#include "benchmarks/kernels/machine_limits.h"
#include "kernels/ops.h"

namespace tessera::benchmarks {

/// A back end to measure, and the limits of as many threads as it has.
struct KernelSuite {
  std::string instruction_set;
  std::int32_t num_threads = 1;
  MachineLimits limits;
  std::shared_ptr<kernels::Backend> backend;

  /// Operations per second that the instruction set allows: vdpbf16ps or fp32 FMA.
  double flops() const {
    return instruction_set == "avx512" ? limits.bfloat16_flops : limits.float32_flops;
  }
  std::string name(const std::string& operation) const {
    return operation + "/" + instruction_set + "/threads:" + std::to_string(num_threads);
  }
};

/// What one call computes and reads or writes.
struct Cost {
  double flops = 0.0;
  double bytes = 0.0;
};

/// Counters of a finished benchmark: GFLOP/s, GB/s, floor_us (the greater of flops / peak and
/// bytes / read bandwidth), ratio = floor / time, and the parts of peak and bandwidth reached.
void report(benchmark::State& state, const KernelSuite& suite, const Cost& cost);

/// Random values of about normal distribution in a new buffer.
kernels::Buffer random_bfloat16(std::int64_t count, float scale);
kernels::Buffer random_float32(std::int64_t count);

// To add an operation: a file with such a function, and one line in kernel_benchmark.cpp.
void register_experts(const KernelSuite& suite);
void register_gemm(const KernelSuite& suite);
void register_measure(const KernelSuite& suite);
void register_rows(const KernelSuite& suite);

}  // namespace tessera::benchmarks

#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "kernels/buffer.h"
#include "kernels/ops.h"

namespace tessera::benchmarks {

/// What the GPU reaches: measured at the start, what floors are computed from.
struct Ceilings {
  double bytes_per_second = 0.0;  ///< Device-to-device copy, bytes read plus bytes written.
  double flops_per_second = 0.0;  ///< bf16 product of 8192 x 8192 x 8192, random data.
};

/// @param fastest  A back end in its default mode.
Ceilings measure_ceilings(kernels::Backend& fastest);

/// Times work on the GPU and prints one line of a Markdown table for each case.
class Reporter {
 public:
  /// Measures the ceilings with `fastest`, the back end in its default mode.
  Reporter(kernels::Backend& backend, bool is_deterministic, kernels::Backend& fastest);

  kernels::Backend& backend() const { return backend_; }
  bool is_deterministic() const { return is_deterministic_; }

  /// Runs `work` often enough and prints the median with its floor.
  /// @param work   Queues operations of backend(); the index of the run tells which of several sets
  ///               of inputs to take, so that they do not stay in the cache.
  /// @param bytes  Read plus written, each once.   @param flops  Of tensor cores.
  void row(const std::string& name,
           double bytes,
           double flops,
           const std::function<void(int run)>& work);

  /// The same for work of another stream, `count` times what bytes and flops are of.
  /// @param wait  Returns when all of it is done.
  void row(const std::string& name,
           double bytes,
           double flops,
           const std::function<void(int run)>& work,
           int count,
           const std::function<void()>& wait);

 private:
  kernels::Backend& backend_;
  bool is_deterministic_;
  Ceilings ceilings_;
};

/// Device memory with random normal numbers: bf16 or fp32.
kernels::Buffer random_bf16(kernels::Backend& backend, std::int64_t count, float scale = 1.0F);
kernels::Buffer random_fp32(kernels::Backend& backend, std::int64_t count, float scale = 1.0F);

void attention_cases(Reporter& reporter);
void gemm_cases(Reporter& reporter);
void measure_cases(Reporter& reporter);
void moe_cases(Reporter& reporter);
void row_cases(Reporter& reporter);

}  // namespace tessera::benchmarks

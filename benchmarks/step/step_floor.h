#pragma once

#include <cstdint>

#include "benchmarks/kernels/machine_limits.h"
#include "common/model_spec/model_spec.h"

namespace tessera::benchmarks {

/// Rows of a step: `num_sequences` sequences of `rows_each` new rows that see `context` cached ones
/// and each other.
struct StepShape {
  std::int32_t num_sequences = 1;
  std::int32_t rows_each = 32;
  std::int32_t context = 512;

  std::int64_t num_rows() const { return std::int64_t{num_sequences} * rows_each; }
};

/// Seconds below which a machine cannot run the products of a step, bf16: for each GEMM, and for
/// attention layer by layer, the larger of FLOP over peak and bytes of weights or pages over read
/// bandwidth.
struct StepFloor {
  double gemm_seconds = 0.0;
  double attention_seconds = 0.0;

  double total() const { return gemm_seconds + attention_seconds; }
};

StepFloor step_floor(const ModelSpec& spec, const StepShape& shape, const MachineLimits& limits);

}  // namespace tessera::benchmarks

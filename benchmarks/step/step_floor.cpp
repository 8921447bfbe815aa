#include "benchmarks/step/step_floor.h"

#include <algorithm>

namespace tessera::benchmarks {
namespace {

constexpr double kBytes = 2.0;  // of a bf16 value

double seconds_of(double flops, double bytes, const MachineLimits& limits) {
  const double peak = limits.bfloat16_flops > 0.0 ? limits.bfloat16_flops : limits.float32_flops;
  return std::max(flops / peak, bytes / limits.read_bytes);
}

double gemm_seconds(double rows, double n, double k, const MachineLimits& limits) {
  return seconds_of(2.0 * rows * n * k, kBytes * n * k, limits);
}

}  // namespace

StepFloor step_floor(const ModelSpec& spec, const StepShape& shape, const MachineLimits& limits) {
  const auto rows = static_cast<double>(shape.num_rows());
  const double hidden = spec.hidden_size;
  const double width = spec.intermediate_size;
  const double keys = shape.context + shape.rows_each;
  const double cached = static_cast<double>(shape.num_sequences) * shape.context;
  StepFloor floor;
  for (std::int32_t layer = 0; layer < spec.num_layers; ++layer) {
    const double q = spec.q_size(spec.attention_of(layer));
    const double kv = spec.attention_of(layer).kv_size();
    floor.gemm_seconds +=
        gemm_seconds(rows, q + 2.0 * kv, hidden, limits) + gemm_seconds(rows, hidden, q, limits) +
        gemm_seconds(rows, 2.0 * width, hidden, limits) + gemm_seconds(rows, hidden, width, limits);
    floor.attention_seconds +=
        seconds_of(4.0 * rows * keys * q, 2.0 * kBytes * cached * kv, limits);
  }
  return floor;
}

}  // namespace tessera::benchmarks

#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

/// Operations on rows; contracts: kernels/ops.h.
namespace tessera::kernels::cuda {

void rms_norm(
    Context& context, ConstMatrixView x, std::span<const float> weight, float eps, MatrixView out);

void add_rms_norm(Context& context,
                  MatrixView residual,
                  ConstMatrixView delta,
                  std::span<const float> weight,
                  float eps,
                  MatrixView out);

void rms_norm_once(
    Context& context, ConstMatrixView x, std::span<const float> weight, float eps, MatrixView out);

void scale(Context& context, MatrixView x, float factor);

void act_mul(Context& context, Activation activation, ConstMatrixView gate_up, MatrixView out);

void add(Context& context, MatrixView sum, ConstMatrixView x);

void gather_rows(Context& context,
                 ConstMatrixView x,
                 std::span<const std::int64_t> rows,
                 MatrixView out);

void sum_parts(Context& context, ConstMatrixView parts, std::span<float> out);

}  // namespace tessera::kernels::cuda

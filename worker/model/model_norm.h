#pragma once

#include <span>

#include "common/model_spec/model_spec.h"
#include "kernels/ops.h"

namespace tessera {

/// The model's norm of fp32 rows, rounded to the activation dtype where the family rounds.
inline void model_norm(kernels::Backend& backend,
                       const ModelSpec& spec,
                       const ConstMatrixView& x,
                       std::span<const float> weight,
                       const MatrixView& out) {
  if (spec.norms_round_once) {
    backend.rms_norm_once(x, weight, spec.rms_norm_eps, out);
  } else {
    backend.rms_norm(x, weight, spec.rms_norm_eps, out);
  }
}

}  // namespace tessera

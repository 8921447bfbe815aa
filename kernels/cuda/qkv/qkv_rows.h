#pragma once

#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// Contract: kernels/ops.h.
void qk_norm_rope_store(Context& context, const QkvArgs& args);

}  // namespace tessera::kernels::cuda

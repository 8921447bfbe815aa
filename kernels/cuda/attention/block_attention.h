#pragma once

#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// Contract: kernels/ops.h.
void block_attention(Context& context, const AttentionArgs& args);

}  // namespace tessera::kernels::cuda

#pragma once

#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// Caps stored logits: l = cap tanh(l / cap).
void soft_cap(Context& context, MatrixView logits, float cap);

/// Sets excluded ids of stored logits to -inf and subtracts penalties. Touches nothing else.
void exclude_ids(Context& context,
                 MatrixView logits,
                 const VocabularyShard& vocabulary,
                 const Measure* measures);

}  // namespace tessera::kernels::cuda

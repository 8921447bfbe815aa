#pragma once

#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// Contract: kernels/ops.h.
///
/// Floor: for each key seen, 4 num_kv_heads head_dim bytes of K and V, read once by all queries of
/// a tile (row x query head of a KV head, up to 128), against 4 head_dim num_q_heads operations for
/// each row that sees it. Bandwidth binds below about 190 queries a tile on an H200.
void block_attention(Context& context, const AttentionArgs& args);

}  // namespace tessera::kernels::cuda

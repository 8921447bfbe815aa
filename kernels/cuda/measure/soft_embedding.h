#pragma once

#include <cstdint>

#include "kernels/cuda/base/context.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/ops.h"

/// Contracts: kernels/ops.h.
namespace tessera::kernels::cuda {

std::int64_t soft_embedding_workspace_bytes(const CudaMatrix& table, std::int64_t num_rows);

void soft_embedding(Context& context, const SoftEmbeddingArgs& args, const CudaMatrix& table);

}  // namespace tessera::kernels::cuda

#pragma once

#include <span>

#include "kernels/cuda/base/context.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/ops.h"

/// Contracts: kernels/ops.h.
namespace tessera::kernels::cuda {

void gather_embeddings(Context& context,
                       ConstMatrixView table,
                       TokenId first_id,
                       std::span<const TokenId> ids,
                       MatrixView out);

void apply_recipes(Context& context,
                   std::span<const RecipeRow> rows,
                   ConstMatrixView gathered,
                   MatrixView out);

}  // namespace tessera::kernels::cuda

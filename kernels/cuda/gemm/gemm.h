#pragma once

#include "kernels/cuda/base/context.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// c = a w^T; contract: kernels/ops.h. Deterministic: tile_gemm(); else cuBLASLt where it is.
void gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c);

/// The same by our own kernel (mma.sync), whose K order and leaves are fixed: every row's bits are
/// its own.
void tile_gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c);

}  // namespace tessera::kernels::cuda

#pragma once

#include "kernels/cuda/base/context.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// c = a w^T; contract: kernels/ops.h. Deterministic: tile_gemm(); else narrow_gemm() for few rows,
/// cuBLASLt for more.
void gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c);

/// The same by our own kernel (mma.sync), whose K order and leaves are fixed: every row's bits are
/// its own.
void tile_gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c);

/// The same for few rows, where prefers_narrow_gemm() says so: reads the weights once, at the speed
/// of memory, the first of them while earlier kernels run. The order of the sums depends on the
/// shape of w and on the number of multiprocessors.
void narrow_gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c);

/// At most 64 rows, on 16 bytes each; leaves of w without padding, and enough of its rows to keep
/// the GPU busy.
bool prefers_narrow_gemm(const Context& context, ConstMatrixView a, const CudaMatrix& w);

}  // namespace tessera::kernels::cuda

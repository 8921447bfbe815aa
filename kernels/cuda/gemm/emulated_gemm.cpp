#include "kernels/cuda/gemm/gemm.h"

namespace tessera::kernels::cuda {

// cuBLASLt needs a GPU.
void gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c) {
  if (!context.deterministic() && prefers_narrow_gemm(context, a, w)) {
    return narrow_gemm(context, a, w, c);
  }
  tile_gemm(context, a, w, c);
}

}  // namespace tessera::kernels::cuda

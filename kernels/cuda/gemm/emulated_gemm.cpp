#include "kernels/cuda/gemm/gemm.h"

namespace tessera::kernels::cuda {

// cuBLASLt needs a GPU.
void gemm(Context& context, ConstMatrixView a, const CudaMatrix& w, MatrixView c) {
  tile_gemm(context, a, w, c);
}

}  // namespace tessera::kernels::cuda

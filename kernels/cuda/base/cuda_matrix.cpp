#include "kernels/cuda/base/cuda_matrix.h"

#include "common/tensor/padding.h"
#include "kernels/cuda/device/memory.h"

namespace tessera::kernels::cuda {

CudaMatrix::CudaMatrix(const PackShape& shape)
    : PackedMatrix(shape),
      leaf_stride_(round_up(leaf_cols(), kStep)),
      memory_(
          allocate_device(shape.rows * row_stride() * static_cast<std::int64_t>(sizeof(Bf16)))) {}

}  // namespace tessera::kernels::cuda

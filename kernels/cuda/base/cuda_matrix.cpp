#include "kernels/cuda/base/cuda_matrix.h"

#include "common/base/error.h"
#include "common/tensor/padding.h"
#include "kernels/cuda/device/memory.h"

namespace tessera::kernels::cuda {

CudaMatrix::CudaMatrix(const PackShape& shape)
    : PackedMatrix(shape),
      leaf_stride_(round_up(leaf_cols(), kStep)),
      memory_(
          allocate_device(shape.rows * row_stride() * static_cast<std::int64_t>(sizeof(Bf16)))) {}

const CudaMatrix& cuda_matrix(const PackedMatrix& matrix) {
  const auto* own = dynamic_cast<const CudaMatrix*>(&matrix);
  TESSERA_REQUIRE(own != nullptr, "this matrix was packed by another back end");
  return *own;
}

}  // namespace tessera::kernels::cuda

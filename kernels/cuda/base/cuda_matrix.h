#pragma once

#include <cstdint>

#include "kernels/buffer.h"
#include "kernels/cuda/device/types.h"
#include "kernels/packed_matrix.h"

namespace tessera::kernels::cuda {

/// A weight matrix as tensor cores read it: bf16 [rows, k_leaves, leaf_stride], every leaf of the
/// reduction padded with zeros to whole K steps. With one leaf plain row-major.
class CudaMatrix final : public PackedMatrix {
 public:
  static constexpr std::int64_t kStep = 32;  ///< Columns of a K step.

  explicit CudaMatrix(const PackShape& shape);

  std::int64_t num_bytes() const override { return memory_.num_bytes(); }

  Bf16* data() const { return memory_.as<Bf16>(); }
  std::int64_t leaf_cols() const { return shape().cols / shape().k_leaves; }
  std::int64_t leaf_stride() const { return leaf_stride_; }                    ///< Elements.
  std::int64_t row_stride() const { return shape().k_leaves * leaf_stride_; }  ///< Elements.

  /// Where column `col` of a row lies.
  std::int64_t offset(std::int64_t col) const {
    return col / leaf_cols() * leaf_stride_ + col % leaf_cols();
  }

 private:
  std::int64_t leaf_stride_;
  Buffer memory_;
};

/// @throws Error{kInvalidArgument} for a matrix of another back end.
const CudaMatrix& cuda_matrix(const PackedMatrix& matrix);

}  // namespace tessera::kernels::cuda

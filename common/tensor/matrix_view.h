#pragma once

#include <cstddef>
#include <cstdint>

#include "common/tensor/dtype.h"

namespace tessera {

/// A borrowed, row-strided matrix of read-only elements. Owns nothing.
///
/// The innermost dimension is contiguous; rows are `row_stride` elements apart.
struct ConstMatrixView {
  const void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  ///< In elements, >= cols.

  const void* row(std::int64_t index) const {
    return static_cast<const std::byte*>(data) + index * row_stride * size_of(dtype);
  }
};

/// The same, writable.
struct MatrixView {
  void* data = nullptr;
  DType dtype = DType::kFloat32;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t row_stride = 0;  ///< In elements, >= cols.

  void* row(std::int64_t index) const {
    return static_cast<std::byte*>(data) + index * row_stride * size_of(dtype);
  }
  operator ConstMatrixView()
      const {  // NOLINT(google-explicit-constructor): reading is always allowed
    return {data, dtype, rows, cols, row_stride};
  }
};

}  // namespace tessera

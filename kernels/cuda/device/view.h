#pragma once

#include <cstdint>

#include "common/tensor/matrix_view.h"
#include "kernels/cuda/device/target.h"

namespace tessera::kernels::cuda {

/// A matrix as a kernel's parameter.
template <typename T>
struct RowsView {
  T* data;
  std::int64_t cols;
  std::int64_t row_stride;  ///< Elements.

  __device__ T* row(std::int64_t index) const { return data + index * row_stride; }
};

template <typename T, typename View>
RowsView<T> rows_view(const View& view) {
  return {static_cast<T*>(view.data), view.cols, view.row_stride};
}

inline bool is_aligned(const void* data) {
  return reinterpret_cast<std::uintptr_t>(data) % 16 == 0;
}

/// True if every row begins on 16 bytes.
inline bool is_aligned(const ConstMatrixView& view) {
  return is_aligned(view.data) && view.row_stride * size_of(view.dtype) % 16 == 0;
}

}  // namespace tessera::kernels::cuda

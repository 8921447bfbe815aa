#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "common/tensor/matrix_view.h"
#include "kernels/convert.h"

namespace tessera::kernels {

/// An fp32 matrix with bait: NaN in `padding` elements behind every row.
struct Matrix {
  std::int64_t rows;
  std::int64_t cols;
  std::int64_t stride;
  std::vector<float> values;

  Matrix(std::int64_t num_rows, std::int64_t num_cols, std::int64_t padding = 3)
      : rows(num_rows),
        cols(num_cols),
        stride(num_cols + padding),
        values(static_cast<std::size_t>(num_rows * stride),
               std::numeric_limits<float>::quiet_NaN()) {}

  float& at(std::int64_t row, std::int64_t col) {
    return values[static_cast<std::size_t>(row * stride + col)];
  }
  float at(std::int64_t row, std::int64_t col) const {
    return values[static_cast<std::size_t>(row * stride + col)];
  }
  MatrixView view() { return {values.data(), DType::kFloat32, rows, cols, stride}; }
  ConstMatrixView view() const { return {values.data(), DType::kFloat32, rows, cols, stride}; }

  bool padding_untouched() const {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = cols; j < stride; ++j) {
        if (!std::isnan(at(i, j))) return false;
      }
    }
    return true;
  }
};

inline Matrix random_matrix(std::int64_t rows,
                            std::int64_t cols,
                            std::uint32_t seed,
                            std::int64_t padding = 3) {
  Matrix matrix(rows, cols, padding);
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < cols; ++j) matrix.at(i, j) = normal(rng);
  }
  return matrix;
}

/// A matrix of a back end's own dtype (fp32 or bf16): its activations and caches. The same bait.
class TypedMatrix {
 public:
  TypedMatrix(DType dtype, std::int64_t rows, std::int64_t cols, std::int64_t padding = 3)
      : dtype_(dtype),
        rows_(rows),
        cols_(cols),
        stride_(cols + padding),
        bytes_(static_cast<std::size_t>(rows * stride_ * size_of(dtype)), std::byte{0xFF}) {}

  /// `values` rounded to `dtype`, ties to even.
  TypedMatrix(DType dtype, const Matrix& values) : TypedMatrix(dtype, values.rows, values.cols) {
    for (std::int64_t i = 0; i < rows_; ++i) {
      for (std::int64_t j = 0; j < cols_; ++j) set(i, j, values.at(i, j));
    }
  }

  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  float at(std::int64_t row, std::int64_t col) const {
    return load_element(view().row(row), dtype_, col);
  }
  void set(std::int64_t row, std::int64_t col, float value) {
    std::byte* element = static_cast<std::byte*>(view().row(row)) + col * size_of(dtype_);
    const std::uint16_t half = bfloat16_of_float(value);
    std::memcpy(element, dtype_ == DType::kBFloat16 ? static_cast<const void*>(&half) : &value,
                static_cast<std::size_t>(size_of(dtype_)));
  }
  MatrixView view() { return {bytes_.data(), dtype_, rows_, cols_, stride_}; }
  ConstMatrixView view() const { return {bytes_.data(), dtype_, rows_, cols_, stride_}; }

  /// The values, to compare with or to compute a definition from.
  Matrix values() const {
    Matrix result(rows_, cols_);
    for (std::int64_t i = 0; i < rows_; ++i) {
      for (std::int64_t j = 0; j < cols_; ++j) result.at(i, j) = at(i, j);
    }
    return result;
  }

  bool padding_untouched() const {
    for (std::int64_t i = 0; i < rows_; ++i) {
      for (std::int64_t j = cols_; j < stride_; ++j) {
        if (!std::isnan(at(i, j))) return false;
      }
    }
    return true;
  }

 private:
  DType dtype_;
  std::int64_t rows_;
  std::int64_t cols_;
  std::int64_t stride_;
  std::vector<std::byte> bytes_;
};

}  // namespace tessera::kernels

#pragma once

#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "common/tensor/matrix_view.h"

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
};

inline Matrix random_matrix(std::int64_t rows, std::int64_t cols, std::uint32_t seed) {
  Matrix matrix(rows, cols);
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal;
  for (std::int64_t i = 0; i < rows; ++i) {
    for (std::int64_t j = 0; j < cols; ++j) matrix.at(i, j) = normal(rng);
  }
  return matrix;
}

}  // namespace tessera::kernels

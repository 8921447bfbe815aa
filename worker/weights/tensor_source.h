#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "common/model_spec/sharding.h"
#include "common/tensor/matrix_view.h"

namespace tessera {

/// A tensor that a model must have. Vectors have one dimension, matrices two: [out, in]. Matrices
/// of one shape may be stacked: [count, out, in], which is read as the matrix [count * out, in].
struct TensorDeclaration {
  std::string name;
  std::vector<std::int64_t> shape;

  bool operator==(const TensorDeclaration&) const = default;
};

/// Rows and columns of a tensor of at least two dimensions.
struct MatrixShape {
  std::int64_t rows = 1;
  std::int64_t cols = 0;

  explicit MatrixShape(const std::vector<std::int64_t>& shape) : cols(shape.back()) {
    for (std::size_t i = 0; i + 1 < shape.size(); ++i) rows *= shape[i];
  }
};

/// Where weights come from: a checkpoint, or a generator. Owned by the loading thread.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  /// Copies rows x cols of the matrix `name` to the upper left of `out`, converted to the dtype of
  /// `out`. The ranges may reach beyond the tensor: what lies outside becomes zero.
  /// @param out  At least rows.size() x cols.size(); kFloat32 or kBFloat16, host memory.
  /// @throws Error{kInternal} if the model did not declare the tensor as a matrix.
  virtual void read_matrix(const std::string& name,
                           IndexRange rows,
                           IndexRange cols,
                           const MatrixView& out) = 0;

  /// Takes rows [first_row, first_row + part.rows) of a range; valid during the call.
  using UsePart = std::function<void(std::int64_t first_row, const ConstMatrixView& part)>;

  /// Hands what the matrix `name` has of rows x cols to `use` without a copy where it lies in
  /// memory: a few MB at a time, rows ascending and counted from rows.begin, columns from
  /// cols.begin on, in stored_dtype(). The address of a part need not be aligned.
  virtual void visit_matrix(const std::string& name,
                            IndexRange rows,
                            IndexRange cols,
                            const UsePart& use) = 0;

  /// Elements [range.begin, range.end) of the vector `name` as fp32, zero beyond its end.
  virtual std::vector<float> read_vector(const std::string& name, IndexRange range) = 0;

  /// kFloat32, kFloat16 or kBFloat16.
  virtual DType stored_dtype(const std::string& name) const = 0;

  /// Digest of names, shapes and types: equal for equal checkpoints (contents not read).
  virtual std::string digest() const = 0;
};

}  // namespace tessera

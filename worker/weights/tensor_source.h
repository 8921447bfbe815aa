#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/model_spec/sharding.h"
#include "common/tensor/matrix_view.h"

namespace tessera {

/// A tensor that a model must have. Vectors have one dimension, matrices two: [out, in].
struct TensorDeclaration {
  std::string name;
  std::vector<std::int64_t> shape;

  bool operator==(const TensorDeclaration&) const = default;
};

/// Where weights come from: a checkpoint, or a generator. Owned by the loading thread.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  /// Copies rows x cols of the matrix `name` to the upper left of `out`, converted to the dtype of
  /// `out`. The ranges may reach beyond the tensor: what lies outside becomes zero.
  /// @param out  At least rows.size() x cols.size(); kFloat32 or kBFloat16, host memory.
  /// @throws Error{kInternal} if the model did not declare the tensor with two dimensions.
  virtual void read_matrix(const std::string& name,
                           IndexRange rows,
                           IndexRange cols,
                           const MatrixView& out) = 0;

  /// Elements [range.begin, range.end) of the vector `name` as fp32, zero beyond its end.
  virtual std::vector<float> read_vector(const std::string& name, IndexRange range) = 0;

  /// Whether the tensor is stored in a type that guarantees every element to be a bf16 value, so
  /// that packing as bf16 loses nothing.
  virtual bool is_bf16(const std::string& name) const = 0;

  /// Digest of names, shapes and types: equal for equal checkpoints (contents not read).
  virtual std::string digest() const = 0;
};

}  // namespace tessera

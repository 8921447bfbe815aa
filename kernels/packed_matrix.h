#pragma once

#include <cstdint>

namespace tessera::kernels {

/// Shape of a weight matrix in a back end's own layout.
struct PackShape {
  std::int64_t rows = 0;  ///< N: outputs of the GEMM, this rank's.
  std::int64_t cols = 0;  ///< K: inputs, this rank's, padding included. Even; a multiple of
                          ///< 2 * k_leaves.
  /// Row-parallel weights: leaves of the reduction tree (partition.h) that this rank holds, 8 / TP,
  /// and cols = padded_reduction(unsharded K) / TP. Everything else: 1, K is summed in order.
  std::int32_t k_leaves = 1;
  /// Equal parts of the rows, each laid out on its own. LM head: leaves of the vocabulary that this
  /// rank holds, 8 / TP, and rows = padded_vocabulary(vocab_size) / TP. Experts: the matrices of
  /// the layer, one behind the other. Everything else: 1.
  std::int32_t row_leaves = 1;
  /// Each part is gate, then as many rows of up, which moe_experts wants side by side. No other
  /// operation takes such a matrix.
  bool gated = false;
};

/// A weight matrix packed by a back end. Opaque: only the back end that made it reads it. Starts as
/// zeros, so rows and columns that are never packed are padding.
class PackedMatrix {
 public:
  explicit PackedMatrix(const PackShape& shape) : shape_(shape) {}
  virtual ~PackedMatrix() = default;

  const PackShape& shape() const { return shape_; }
  virtual std::int64_t num_bytes() const = 0;

 private:
  PackShape shape_;
};

}  // namespace tessera::kernels

#pragma once

#include "kernels/ops.h"

namespace tessera::kernels {

/// fp32 weights, transposed: [cols][rows], so that the inner loop runs over outputs.
class ReferenceMatrix final : public PackedMatrix {
 public:
  explicit ReferenceMatrix(const PackShape& shape)
      : PackedMatrix(shape), values_(shape.rows * shape.cols * 4) {}

  std::int64_t num_bytes() const override { return values_.num_bytes(); }
  float* values() const { return values_.as<float>(); }

 private:
  Buffer values_;
};

const ReferenceMatrix& reference_matrix(const PackedMatrix& matrix);

/// sums[n] += scale times the sum over the columns of one leaf, for outputs first_row + n.
void add_leaf_products(const float* a,
                       const ReferenceMatrix& w,
                       std::int64_t first_row,
                       std::int32_t leaf,
                       double scale,
                       std::span<double> sums);

/// act(gate) * up of one row.
void gated_product(Activation activation, std::span<const float> gate_up, std::span<float> product);

void moe_experts_reference(const MoeArgs& args);
void soft_embedding_reference(const SoftEmbeddingArgs& args);
void gemm_reference(const ConstMatrixView& a, const ReferenceMatrix& w, const MatrixView& c);
void qk_norm_rope_store_reference(const QkvArgs& args);
void block_attention_reference(const AttentionArgs& args);

}  // namespace tessera::kernels

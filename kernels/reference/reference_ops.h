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

void gemm_reference(const ConstMatrixView& a, const ReferenceMatrix& w, const MatrixView& c);
void qk_norm_rope_store_reference(const QkvArgs& args);
void block_attention_reference(const AttentionArgs& args);

}  // namespace tessera::kernels

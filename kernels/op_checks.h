#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace tessera::kernels {

// The contract of ops.h, checked the same way for every back end. All throw
// Error{kInvalidArgument} naming the operation, the argument and its value.

void check_shape(const PackShape& shape);
void check_pack_rows(const PackShape& shape, std::int64_t first_row, const ConstMatrixView& rows);
void check_gather_embeddings(const ConstMatrixView& table,
                             std::span<const TokenId> ids,
                             const MatrixView& out);
void check_gather_packed(const PackShape& table,
                         std::span<const TokenId> ids,
                         const MatrixView& out);
void check_recipes(std::span<const RecipeRow> rows,
                   const ConstMatrixView& gathered,
                   const MatrixView& out);
void check_rms_norm(const ConstMatrixView& x,
                    std::span<const float> weight,
                    const MatrixView& out,
                    DType activation);
void check_rms_norm_once(const ConstMatrixView& x,
                         std::span<const float> weight,
                         const MatrixView& out,
                         DType activation);
void check_scale(const MatrixView& x);
void check_same_shape(const char* operation, const MatrixView& out, const ConstMatrixView& x);
void check_act_mul(const ConstMatrixView& gate_up, const MatrixView& out, DType activation);
void check_gather_rows(const ConstMatrixView& x,
                       std::span<const std::int64_t> rows,
                       const MatrixView& out);
void check_sum_parts(const ConstMatrixView& parts, std::span<const float> out);
void check_qkv(const QkvArgs& args, DType activation, DType cache);
void check_attention(const AttentionArgs& args, DType activation, DType cache);
void check_gemm(const ConstMatrixView& a,
                const PackShape& w,
                const MatrixView& c,
                DType activation);

/// `out_rows`: rows of the output of the operation (partials or logits).
void check_measure(const ConstMatrixView& hidden,
                   const PackShape& lm_head,
                   std::span<const Measure> measures,
                   std::int64_t out_rows,
                   DType activation);

void check_measure_logits(const ConstMatrixView& logits,
                          const PackShape& lm_head,
                          std::span<const Measure> measures,
                          std::int64_t num_partials);
/// args.table is not null: the workspace was asked for with it.
void check_soft_embedding(const SoftEmbeddingArgs& args, std::int64_t workspace_bytes);

}  // namespace tessera::kernels

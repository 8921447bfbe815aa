#pragma once

#include <cstdint>
#include <span>

#include "kernels/cuda/base/context.h"
#include "kernels/cuda/base/cuda_matrix.h"
#include "kernels/ops.h"

/// Contracts: kernels/ops.h.
namespace tessera::kernels::cuda {

std::int64_t measure_workspace_bytes(const CudaMatrix& lm_head, std::int64_t num_rows);

void measure(Context& context,
             ConstMatrixView hidden,
             const CudaMatrix& lm_head,
             const VocabularyShard& vocabulary,
             std::span<const Measure> measures,
             std::span<std::byte> workspace,
             std::span<MeasurePartial> partials);

void logits(Context& context,
            ConstMatrixView hidden,
            const CudaMatrix& lm_head,
            const VocabularyShard& vocabulary,
            std::span<const Measure> measures,
            MatrixView logits);

void measure_logits(Context& context,
                    ConstMatrixView logits,
                    const CudaMatrix& lm_head,
                    TokenId first_id,
                    std::span<const Measure> measures,
                    std::span<std::byte> workspace,
                    std::span<MeasurePartial> partials);

}  // namespace tessera::kernels::cuda

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/ops.h"

namespace tessera::kernels {

// Shares of the operations that multiply with a packed matrix: part `part` of `num_parts`, each on
// a thread of its own. Bits do not depend on num_parts.

void gemm_share(const CpuKernels& kernels,
                const ConstMatrixView& a,
                const CpuMatrix& w,
                const MatrixView& c,
                std::int32_t part,
                std::int32_t num_parts);

/// Arguments of Backend::measure and Backend::logits.
struct MeasureArgs {
  ConstMatrixView hidden;
  const CpuMatrix& lm_head;
  VocabularyShard vocabulary;
  std::span<const Measure> measures;
};

void logits_share(const CpuKernels& kernels,
                  const MeasureArgs& args,
                  const MatrixView& logits,
                  std::int32_t part,
                  std::int32_t num_parts);

/// Chunks that the ids of a matrix are measured in: at most 16 panels of one leaf.
std::int64_t num_measure_chunks(const CpuMatrix& lm_head);

/// Measures chunks of every row.
/// @param chunks  [measures, num_measure_chunks] out
void measure_share(const CpuKernels& kernels,
                   const MeasureArgs& args,
                   std::span<MeasurePartial> chunks,
                   std::int32_t part,
                   std::int32_t num_parts);

/// The same chunks of stored logits.
void measure_logits_share(const CpuKernels& kernels,
                          const ConstMatrixView& logits,
                          const CpuMatrix& lm_head,
                          TokenId first_id,
                          std::span<const Measure> measures,
                          std::span<MeasurePartial> chunks,
                          std::int32_t part,
                          std::int32_t num_parts);

/// Merges the chunks of rows [begin, end): those of a leaf in ascending order, leaves in tree
/// order.
void merge_chunks(const CpuMatrix& lm_head,
                  std::span<const MeasurePartial> chunks,
                  std::int64_t begin,
                  std::int64_t end,
                  std::span<MeasurePartial> partials);

}  // namespace tessera::kernels

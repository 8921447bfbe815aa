#pragma once

#include <cstdint>

#include "kernels/cuda/base/context.h"
#include "kernels/ops.h"

namespace tessera::kernels::cuda {

/// Stored logits to measure. All pointers are device memory.
struct LogitRows {
  ConstMatrixView logits;  ///< fp32 [rows, row_leaves leaves of the vocabulary]
  std::int32_t row_leaves = 1;
  VocabularyShard vocabulary;
  const Measure* measures = nullptr;  ///< [rows]
  bool are_penalised = false;         ///< The logits are: penalties are not subtracted again.
};

/// Parts that a row of logits is cut into: fixed by its leaves, so that a row's bits do not depend
/// on the others.
std::int64_t num_measure_parts(std::int64_t cols, std::int32_t row_leaves);

/// Partial of every row: exclusion and penalty, then the sums and choices of measure_partial.h.
/// Reads the logits once and writes nothing else of their size: the floor is their bytes.
/// @param parts     [rows, num_measure_parts()] scratch, device
/// @param partials  [rows] out, device
void measure_rows(Context& context,
                  const LogitRows& rows,
                  MeasurePartial* parts,
                  MeasurePartial* partials);

}  // namespace tessera::kernels::cuda

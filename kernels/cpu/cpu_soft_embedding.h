#pragma once

#include <cstdint>
#include <span>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/ops.h"

namespace tessera::kernels {

/// Backend::soft_embedding in two passes, each in shares of its own: probabilities of every row,
/// then their product with the table. The table is packed for the other product, hidden . E, whose
/// sums run along the hidden dimension: 64 ids by 64 columns at a time are turned round, for all
/// rows, so that product_tile runs along the ids. Bits do not depend on num_parts.

/// Bytes of the probabilities: bf16 [rows, ids of the table].
std::int64_t soft_embedding_bytes(const CpuMatrix& table, std::int64_t num_rows);

/// Probabilities of rows [begin, end).
void soften_rows(const CpuKernels& kernels,
                 const SoftEmbeddingArgs& args,
                 std::int64_t begin,
                 std::int64_t end);

void soft_embedding_share(const CpuKernels& kernels,
                          const SoftEmbeddingArgs& args,
                          const CpuMatrix& table,
                          std::int32_t part,
                          std::int32_t num_parts);

}  // namespace tessera::kernels

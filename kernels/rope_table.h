#pragma once

#include <span>

#include "common/tensor/matrix_view.h"

namespace tessera::kernels {

/// Fills a rope table: row p = cos(p f_0) .. cos(p f_h-1), sin(p f_0) .. sin(p f_h-1), computed in
/// fp64 and rounded once.
/// @param inverse_frequencies  [h]; 0 leaves a pair unturned
/// @param table                fp32 [positions, 2 h] out
void fill_rope_table(std::span<const double> inverse_frequencies, MatrixView table);

}  // namespace tessera::kernels

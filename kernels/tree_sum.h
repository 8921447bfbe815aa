#pragma once

#include <cstddef>
#include <span>

namespace tessera::kernels {

/// out[i] = ((inputs[0][i] + inputs[1][i]) + (inputs[2][i] + inputs[3][i])) + ...
///
/// @param inputs  1, 2, 4 or 8 arrays of `count` floats, of any alignment.
/// @param out     [count]; may be one of the inputs, overlaps none of them otherwise.
void tree_sum(std::span<const float* const> inputs, float* out, std::size_t count);

}  // namespace tessera::kernels

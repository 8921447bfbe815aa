#pragma once

#include <cstdint>

#include "common/tensor/padding.h"

namespace tessera::kernels {

/// Sums that sharding cuts follow one binary tree over kNumLeaves leaves,
///   ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)),
/// so that 1, 2, 4 and 8 ranks cut it only at its branches and give the same bits.
///
/// Calls `combine(left, right)` for every branch of the tree over indices [0, count), children
/// first; `left` then stands for both. `count` is 1, 2, 4 or 8. Works for the leaves of a rank and
/// for the partial results of ranks alike.
template <typename Combine>
void for_each_branch(std::int32_t count, const Combine& combine) {
  for (std::int32_t distance = 1; distance < count; distance *= 2) {
    for (std::int32_t left = 0; left + distance < count; left += 2 * distance) {
      combine(left, left + distance);
    }
  }
}

}  // namespace tessera::kernels

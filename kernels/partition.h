#pragma once

#include <cstdint>

namespace tessera::kernels {

/// Sums that sharding cuts follow one binary tree over eight leaves,
///   ((0 + 1) + (2 + 3)) + ((4 + 5) + (6 + 7)),
/// so that 1, 2, 4 and 8 ranks cut it only at its branches and give the same bits.
inline constexpr std::int32_t kNumLeaves = 8;

constexpr std::int64_t round_up(std::int64_t value, std::int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

/// Length of a dimension that a row-parallel GEMM sums over, before sharding: padded with zeros.
constexpr std::int64_t padded_reduction(std::int64_t length) {
  return round_up(length, 16);
}

/// Vocabulary before sharding: padded with ids that nobody may choose.
constexpr std::int64_t padded_vocabulary(std::int64_t vocab_size) {
  return round_up(vocab_size, 128);
}

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

#pragma once

#include <cstdint>

namespace tessera {

/// Parts that a sharded dimension is cut into, whatever the number of ranks: leaves of the tree
/// along which sums over it are taken (kernels/partition.h). A rank holds kNumLeaves / tp
/// neighbours.
inline constexpr std::int32_t kNumLeaves = 8;

/// `value` rounded up to a multiple of `multiple`.
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

}  // namespace tessera

#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace tessera::kernels {

/// What a row tile keeps in its part's scratch, each array 64-byte aligned. Elements are bf16 or
/// fp32, as the instruction set packs them.
struct AttentionScratch {
  std::byte* queries = nullptr;   ///< [queries, head_dim] elements
  std::byte* keys = nullptr;      ///< one key tile, packed; kTileKeys x value_stride elements
  std::byte* values = nullptr;    ///< the same
  float* outputs = nullptr;       ///< [queries, value_stride] softmax numerators
  float* tops = nullptr;          ///< [queries] greatest score so far, in base 2
  float* totals = nullptr;        ///< [queries, 16] softmax denominators, lanes to be summed
  std::uint64_t* sees = nullptr;  ///< [queries] keys of the tile that a query sees
  std::int32_t value_stride = 0;  ///< head_dim, rounded up to 16

  AttentionScratch() = default;

  /// @param group  query heads per KV head
  AttentionScratch(std::span<std::byte> scratch,
                   std::int32_t group,
                   std::int32_t head_dim,
                   std::int32_t element_bytes);
};

}  // namespace tessera::kernels

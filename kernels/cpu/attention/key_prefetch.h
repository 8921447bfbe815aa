#pragma once

#include <array>
#include <cstdint>

#include "kernels/cpu/attention/key_tiles.h"

namespace tessera::kernels {

/// The cache lines of the following key tile, brought to L2 while the current one is computed: a
/// few in every step of its inner loops, because more at once than a core has miss buffers stop it.
struct KeyPrefetch {
  const std::uint16_t* const* next = nullptr;
  const std::uint16_t* const* end = nullptr;
  std::int32_t lines_per_step = 0;
};

/// One step. Static: inlined in files of different instruction sets.
static inline void prefetch_lines(KeyPrefetch& prefetch) {
  if (prefetch.next >= prefetch.end) return;
  for (std::int32_t i = 0; i < prefetch.lines_per_step; ++i) {
    __builtin_prefetch(prefetch.next[i], /*rw=*/0, /*locality=*/2);
  }
  prefetch.next += prefetch.lines_per_step;
}

/// Lists the lines.
class KeyLines {
 public:
  /// Valid until the next call.
  /// @param num_steps  in which all lines are to be under way, >= 1
  KeyPrefetch list(const KeyTile& following, std::int32_t head_dim, std::int32_t num_steps);

 private:
  static constexpr std::int32_t kMaxLines = 2 * kTileKeys * 512 / 32;  // 512: head_dim at most
  std::array<const std::uint16_t*, 2 * kMaxLines> lines_;
};

}  // namespace tessera::kernels

#pragma once

#include <cstdint>

#include "kernels/cpu/attention/key_tiles.h"

namespace tessera::kernels {

/// Brings K and V of the following key tile to L2 while the current one is computed, in small
/// portions: more lines at once than a core has miss buffers would stop it.
class KeyPrefetch {
 public:
  /// @param following     null: nothing to bring
  /// @param num_portions  calls of next() in which all must be under way
  KeyPrefetch(const KeyTile* following, std::int32_t head_dim, std::int32_t num_portions);

  /// Starts the next portion.
  void next();

 private:
  const KeyTile* following_;
  std::int32_t num_elements_;  // of one row
  std::int32_t portion_;       // keys
  std::int32_t key_ = 0;
};

}  // namespace tessera::kernels

#include "kernels/cpu/attention/key_prefetch.h"

#include <algorithm>

namespace tessera::kernels {
namespace {

constexpr std::int32_t kLineElements = 32;  // bf16 of a cache line

}  // namespace

KeyPrefetch KeyLines::list(const KeyTile& following,
                           std::int32_t head_dim,
                           std::int32_t num_steps) {
  auto end = lines_.begin();
  for (std::size_t key = 0; key < kTileKeys; ++key) {
    for (std::int32_t d = 0; d < head_dim; d += kLineElements) {
      *end++ = following.k[key] + d;
      *end++ = following.v[key] + d;
    }
  }
  const auto num_lines = static_cast<std::int32_t>(end - lines_.begin());
  const std::int32_t per_step = (num_lines + num_steps - 1) / num_steps;
  // The last step is a whole one.
  std::fill_n(end, per_step - 1, lines_.front());
  return {lines_.data(), lines_.data() + num_lines, per_step};
}

}  // namespace tessera::kernels

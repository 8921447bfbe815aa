#include "kernels/cpu/attention/key_prefetch.h"

#include <algorithm>

namespace tessera::kernels {
namespace {

constexpr std::int32_t kLineElements = 32;  // bf16 of a cache line

}  // namespace

KeyPrefetch::KeyPrefetch(const KeyTile* following, std::int32_t head_dim, std::int32_t num_portions)
    : following_(following),
      num_elements_(head_dim),
      portion_((kTileKeys + num_portions - 1) / num_portions) {}

void KeyPrefetch::next() {
  if (following_ == nullptr) return;
  const std::int32_t end = std::min(kTileKeys, key_ + portion_);
  for (; key_ < end; ++key_) {
    const std::uint16_t* const k = following_->k[static_cast<std::size_t>(key_)];
    const std::uint16_t* const v = following_->v[static_cast<std::size_t>(key_)];
    for (std::int32_t d = 0; d < num_elements_; d += kLineElements) {
      __builtin_prefetch(k + d, /*rw=*/0, /*locality=*/2);
      __builtin_prefetch(v + d, /*rw=*/0, /*locality=*/2);
    }
  }
}

}  // namespace tessera::kernels

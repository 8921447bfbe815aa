#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/ops.h"

namespace tessera::kernels {

/// What one row sees, as ranges of absolute positions: [cached.begin, cached.end) without `hole`,
/// from the pages, and [fresh.begin, fresh.end), new rows of its own span. Every mask kind makes a
/// run of new rows that starts with the first.
struct Visibility {
  PositionRange cached;
  PositionRange hole;
  PositionRange fresh;

  bool contains(Position p) const {
    return fresh.contains(p) || (cached.contains(p) && !hole.contains(p));
  }
};

/// End of the new rows that row i sees.
inline Position fresh_end(const AttentionSpan& span, Position i) {
  const Position end = span.first + span.num_rows;
  const auto block_end = [&](Position p) {
    return static_cast<Position>(
        std::min<std::int64_t>(end, (std::int64_t{p} / span.mask_block + 1) * span.mask_block));
  };
  switch (span.mask) {
    case MaskKind::kFull: return end;
    case MaskKind::kCausal: return i + 1;
    case MaskKind::kBlockCausal: return block_end(i);
    case MaskKind::kPromptFull: {
      if (i < span.prompt_len) return std::min(end, span.prompt_len);
      const Position padded =
          (span.prompt_len + span.mask_block - 1) / span.mask_block * span.mask_block;
      return i < padded ? std::min(end, padded) : block_end(i);
    }
    case MaskKind::kCacheOnly: return span.first;
  }
  return span.first;
}

inline Visibility visibility(const AttentionSpan& span, Position i, std::int32_t window) {
  const Position from = span.mask == MaskKind::kFull ? span.first : i;
  const Position oldest = window > 0 ? std::max(0, from - window + 1) : 0;
  return {{oldest, span.cache_len},
          span.cache_hole,
          {std::max(oldest, span.first), fresh_end(span, i)}};
}

}  // namespace tessera::kernels

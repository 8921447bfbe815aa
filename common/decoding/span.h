#pragma once

#include <cstdint>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/embedding_recipe.h"
#include "common/decoding/measurement.h"

namespace tessera {

/// Half-open range of absolute positions.
struct PositionRange {
  Position begin = 0;
  Position end = 0;

  std::int32_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
  bool contains(Position p) const { return begin <= p && p < end; }
  bool operator==(const PositionRange&) const = default;
};

/// Which rows of the same span a row sees; i is the row, j the row looked at, both absolute.
enum class MaskKind : std::uint8_t {
  kFull,         ///< every row
  kCausal,       ///< j <= i
  kBlockCausal,  ///< floor(j / mask_block) <= floor(i / mask_block)
  kPromptFull,   ///< i < P: j < P; P <= i < P': j < P'; i >= P': block-causal. P' = P rounded up
                 ///< to mask_block
  kCacheOnly,    ///< no row of the span; the rows are stored first and seen through the cache
};

/// Row of a span whose embedding is not the one of its token.
struct RowRecipe {
  Position position = 0;
  EmbeddingRecipe recipe;

  bool operator==(const RowRecipe&) const = default;
};

/// All a worker must know about the rows of one sequence in one step.
///
/// Rows are the consecutive positions [first, first + tokens.size()). A row sees the stored
/// positions [0, cache_len) without `cache_hole`, and the rows of its own span by `mask`. K/V of
/// `stores` is written to the pages before attention. A stored row need not be committed: dual
/// cache strategies store rows that they rewrite later.
struct Span {
  Position first = 0;
  std::vector<TokenId> tokens;     ///< One per row; mask ids where nothing is accepted.
  std::vector<RowRecipe> recipes;  ///< Ascending by position; most spans have none.
  bool self_conditioning =
      false;                   ///< Add the vectors kept on the worker since the last canvas step.
  std::int32_t cache_len = 0;  ///< kCacheOnly: may reach beyond `first`; otherwise <= first.
  PositionRange cache_hole;    ///< Stored positions that no row sees; empty for none.
  MaskKind mask = MaskKind::kBlockCausal;
  std::int32_t mask_block = 1;        ///< kBlockCausal, kPromptFull
  std::int32_t prompt_len = 0;        ///< kPromptFull: P
  std::vector<PositionRange> stores;  ///< Ascending, disjoint, inside the rows.
  std::vector<Measure> measures;      ///< Ascending by position.

  std::int32_t num_rows() const { return static_cast<std::int32_t>(tokens.size()); }
  Position end() const { return first + num_rows(); }
  bool operator==(const Span&) const = default;
};

/// Whether row i sees row j of the same span (not the cache). `i`, `j` are absolute.
bool sees(const Span& span, Position i, Position j);

/// Rows [span.first, cut) as a span of their own: stores them, measures nothing.
/// `cut` lies inside the rows, at most num_leading_stored() rows in, at a multiple of the chunk
/// quantum of the strategy, which makes the pieces equal to the whole.
Span leading_piece(const Span& span, Position cut);

/// What is left after leading_piece(span, cut) ran: rows [cut, end), which see the cache up to cut.
Span remaining_piece(const Span& span, Position cut);

/// Number of leading rows that are stored without a gap and not measured: what may be cut off.
std::int32_t num_leading_stored(const Span& span);

/// Throws Error{kInternal} naming the first rule of Span that does not hold.
void check_span(const Span& span);

}  // namespace tessera

#include "common/decoding/span.h"

#include <algorithm>

#include "common/base/error.h"

namespace tessera {
namespace {

bool sees_under_prompt_rule(const Span& span, Position i, Position j) {
  const std::int32_t block = span.mask_block;
  const Position padded = (span.prompt_len + block - 1) / block * block;
  if (i < span.prompt_len) return j < span.prompt_len;
  if (i < padded) return j < padded;
  return j / block <= i / block;
}

}  // namespace

bool sees(const Span& span, Position i, Position j) {
  switch (span.mask) {
    case MaskKind::kFull: return true;
    case MaskKind::kCausal: return j <= i;
    case MaskKind::kBlockCausal: return j / span.mask_block <= i / span.mask_block;
    case MaskKind::kPromptFull: return sees_under_prompt_rule(span, i, j);
    case MaskKind::kCacheOnly: return false;
  }
  TESSERA_CHECK(false, "mask kind ", static_cast<int>(span.mask));
}

std::int32_t num_leading_stored(const Span& span) {
  Position reached = span.first;
  Position measured = span.end();
  for (const Measure& measure : span.measures) measured = std::min(measured, measure.row);
  for (const PositionRange& range : span.stores) {
    if (range.begin > reached) break;
    reached = range.end;
  }
  return std::min(reached, measured) - span.first;
}

Span leading_piece(const Span& span, Position cut) {
  TESSERA_CHECK(cut > span.first && cut < span.end() &&
                    cut <= span.first + num_leading_stored(span) &&
                    span.mask != MaskKind::kCacheOnly,
                "cannot cut [", span.first, ", ", span.end(), ") at ", cut);
  Span piece = span;
  piece.tokens.resize(static_cast<std::size_t>(cut - span.first));
  std::erase_if(piece.recipes, [&](const RowRecipe& r) { return r.position >= cut; });
  piece.stores = {{span.first, cut}};
  piece.measures.clear();
  return piece;
}

Span remaining_piece(const Span& span, Position cut) {
  TESSERA_CHECK(cut > span.first && cut < span.end() &&
                    cut <= span.first + num_leading_stored(span) &&
                    span.mask != MaskKind::kCacheOnly,
                "cannot cut [", span.first, ", ", span.end(), ") at ", cut);
  Span piece = span;
  piece.first = cut;
  piece.cache_len = cut;
  piece.tokens.erase(piece.tokens.begin(), piece.tokens.begin() + (cut - span.first));
  std::erase_if(piece.recipes, [&](const RowRecipe& r) { return r.position < cut; });
  std::erase_if(piece.stores, [&](const PositionRange& r) { return r.end <= cut; });
  if (!piece.stores.empty()) piece.stores.front().begin = std::max(piece.stores.front().begin, cut);
  return piece;
}

void check_span(const Span& span) {
  const PositionRange rows{span.first, span.end()};
  TESSERA_CHECK(span.first >= 0 && !span.tokens.empty(), "span at ", span.first, " with ",
                span.tokens.size(), " rows");
  TESSERA_CHECK(span.mask_block >= 1, "mask_block ", span.mask_block);
  const bool cache_only = span.mask == MaskKind::kCacheOnly;
  TESSERA_CHECK(span.cache_len >= 0 && (cache_only || span.cache_len <= span.first), "cache_len ",
                span.cache_len, " of a span at ", span.first);
  Position last_end = span.first;
  for (const PositionRange& range : span.stores) {
    TESSERA_CHECK(!range.empty() && range.begin >= last_end && range.end <= rows.end, "store [",
                  range.begin, ", ", range.end, ") in rows [", rows.begin, ", ", rows.end, ")");
    last_end = range.end;
  }
  for (const Measure& measure : span.measures) {
    TESSERA_CHECK(rows.contains(measure.row), "measured row ", measure.row, " outside [",
                  rows.begin, ", ", rows.end, ")");
  }
  for (const RowRecipe& recipe : span.recipes) {
    TESSERA_CHECK(rows.contains(recipe.position) && recipe.recipe.num_ids >= 1 &&
                      recipe.recipe.num_ids <= EmbeddingRecipe::kMaxIds,
                  "recipe at ", recipe.position, " with ", recipe.recipe.num_ids, " ids");
  }
}

}  // namespace tessera

#pragma once

#include <array>
#include <cstdint>

#include "common/base/types.h"

namespace tessera {

enum class RecipeKind : std::uint8_t {
  kBlend,  ///< e = sum_j p_j E[id_j] + residual E[mask], its norm restored if `renormalize`
  kAdd,    ///< e = E[base_id] + weight sum_j p_j E[id_j]
};

/// Embedding of a row that is not simply E[token]: a partly accepted token (token merge).
///
/// kBlend with `renormalize`: e *= (sum_j p_j |E[id_j]| + residual |E[mask]|) / max(|e|, 1e-12).
struct EmbeddingRecipe {
  static constexpr int kMaxIds = 8;

  RecipeKind kind = RecipeKind::kBlend;
  TokenId base_id = 0;
  std::int32_t num_ids = 0;  ///< 1 to kMaxIds entries of the two arrays
  std::array<TokenId, kMaxIds> ids{};
  std::array<float, kMaxIds> probabilities{};
  float residual = 0.0F;
  float weight = 1.0F;
  bool renormalize = true;

  /// True when the recipe is just the embedding of `base_id`.
  bool is_plain() const {
    return kind == RecipeKind::kBlend && num_ids == 1 && ids[0] == base_id &&
           probabilities[0] == 1.0F && residual == 0.0F;
  }

  bool operator==(const EmbeddingRecipe&) const = default;
};

}  // namespace tessera

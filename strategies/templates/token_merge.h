#pragma once

#include <optional>

#include "common/decoding/embedding_recipe.h"
#include "common/decoding/measurement.h"
#include "strategies/strategy_options.h"

namespace tessera {

enum class TokenMergeMode : std::uint8_t {
  kNone,
  kConfidence,  ///< e = p E[x] + (1 - p) E[mask], p the confidence of the token x
  kSmooth,      ///< e = E[x] + weight sum_j p_j E[id_j] over the most probable ids
};

struct TokenMergeRules {
  TokenMergeMode mode = TokenMergeMode::kConfidence;
  std::int32_t top_k = 1;   ///< kSmooth: ids of the sum
  bool renormalize = true;  ///< kConfidence: the norm of the parts is restored
  float weight = 1.0F;      ///< kSmooth; 0 switches merging off in both modes
};

/// Token merge: a position whose token may still change is fed as a mixture of embeddings, so that
/// the model sees how sure it was. Formulas: common/decoding/embedding_recipe.h.
///
/// @param confidence   Of `token`, clamped to [0, 1].
/// @param measurement  Its alternatives are the ids of kSmooth.
/// @return             None where the plain embedding of the token is meant.
/// Source: DMax; Hybrid token embeddings of D2F's follow-ups, as the reference engine defines them.
std::optional<EmbeddingRecipe> merged_embedding(const TokenMergeRules& rules,
                                                TokenId token,
                                                float confidence,
                                                const Measurement& measurement);

/// Alternatives that a measurement must report for merging.
std::int32_t num_merge_alternatives(const TokenMergeRules& rules);

/// token_merge_mode, token_merge_top_k, token_merge_renormalize, token_merge_weight.
OptionSpec token_merge_mode_option();
OptionSpec token_merge_top_k_option();
OptionSpec token_merge_renormalize_option();
OptionSpec token_merge_weight_option();

TokenMergeRules token_merge_rules(const StrategyOptions& options);

}  // namespace tessera

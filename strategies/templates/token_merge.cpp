#include "strategies/templates/token_merge.h"

#include <algorithm>
#include <string>

#include "common/base/error.h"
#include "strategies/templates/block_options.h"

namespace tessera {
namespace {

constexpr std::string_view kModes[] = {"dmax_topk", "iter_smooth_topk", "none"};

EmbeddingRecipe blend_with_mask(const TokenMergeRules& rules, TokenId token, float confidence) {
  EmbeddingRecipe recipe;
  recipe.kind = RecipeKind::kBlend;
  recipe.base_id = token;
  recipe.num_ids = 1;
  recipe.ids[0] = token;
  recipe.probabilities[0] = std::clamp(confidence, 0.0F, 1.0F);
  recipe.residual = 1.0F - recipe.probabilities[0];
  recipe.renormalize = rules.renormalize;
  return recipe;
}

EmbeddingRecipe add_most_probable(const TokenMergeRules& rules,
                                  TokenId token,
                                  const Measurement& measurement) {
  EmbeddingRecipe recipe;
  recipe.kind = RecipeKind::kAdd;
  recipe.base_id = token;
  double sum = 0.0;
  for (const Alternative& alternative : measurement.alternatives) {
    const auto i = static_cast<std::size_t>(recipe.num_ids++);
    recipe.ids.at(i) = alternative.token;
    recipe.probabilities.at(i) = alternative.probability;
    sum += static_cast<double>(alternative.probability);
  }
  recipe.residual = static_cast<float>(std::max(0.0, 1.0 - sum));
  recipe.weight = rules.weight;
  return recipe;
}

}  // namespace

std::optional<EmbeddingRecipe> merged_embedding(const TokenMergeRules& rules,
                                                TokenId token,
                                                float confidence,
                                                const Measurement& measurement) {
  if (rules.mode == TokenMergeMode::kNone || rules.weight <= 0.0F) return std::nullopt;
  // Most tokens of a block that has been there for a while: their blend is plain.
  if (rules.mode == TokenMergeMode::kConfidence && confidence >= 1.0F) return std::nullopt;
  const EmbeddingRecipe recipe = rules.mode == TokenMergeMode::kConfidence
                                     ? blend_with_mask(rules, token, confidence)
                                     : add_most_probable(rules, token, measurement);
  if (recipe.is_plain()) return std::nullopt;
  return recipe;
}

std::int32_t num_merge_alternatives(const TokenMergeRules& rules) {
  return rules.mode == TokenMergeMode::kSmooth ? rules.top_k : 0;
}

OptionSpec token_merge_mode_option() {
  return {.name = "token_merge_mode",
          .type = OptionType::kChoice,
          .default_value = std::string("dmax_topk"),
          .choices = kModes,
          .help =
              "Embedding of tokens that may still change: blended with the mask by confidence, "
              "the most probable tokens added, or plain."};
}

OptionSpec token_merge_top_k_option() {
  return integer_option("token_merge_top_k", 1, 1, EmbeddingRecipe::kMaxIds,
                        "iter_smooth_topk: how many of the most probable tokens are added.");
}

OptionSpec token_merge_renormalize_option() {
  return {.name = "token_merge_renormalize",
          .type = OptionType::kBool,
          .default_value = true,
          .help = "dmax_topk: the blend gets the norm that its parts have together."};
}

OptionSpec token_merge_weight_option() {
  return {.name = "token_merge_weight",
          .type = OptionType::kNumber,
          .default_value = 1.0,
          .minimum = 0.0,
          .maximum = 100.0,
          .help = "iter_smooth_topk: weight of what is added. 0 switches merging off."};
}

TokenMergeRules token_merge_rules(const StrategyOptions& options) {
  const std::string& mode = options.choice("token_merge_mode");
  TokenMergeRules rules;
  rules.mode = mode == "none"        ? TokenMergeMode::kNone
               : mode == "dmax_topk" ? TokenMergeMode::kConfidence
                                     : TokenMergeMode::kSmooth;
  rules.top_k = options.integer("token_merge_top_k");
  rules.renormalize = options.flag("token_merge_renormalize");
  rules.weight = static_cast<float>(options.number("token_merge_weight"));
  return rules;
}

}  // namespace tessera

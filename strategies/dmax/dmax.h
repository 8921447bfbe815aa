#pragma once

#include <vector>

#include "common/decoding/model_facts.h"
#include "strategies/strategy_options.h"
#include "strategies/strategy_registry.h"
#include "strategies/templates/block_strategy.h"
#include "strategies/templates/token_merge.h"

namespace tessera {

/// Choices of the reference engine that differ from the contract; see BufferParity.
struct DmaxParity {
  BufferParity buffer;
  bool measures_filled = false;  ///< Confidences of filled positions count instead of being 1.
};

/// Leading run: the masks of a block are accepted from the left while the model is confident, every
/// token that is there is refreshed, and a block ends when nothing changes or all of it is
/// confident. Tokens that may still change are fed through token merge.
///
/// Every editable position of an active block is measured; all decisions use the plain confidence.
/// Rules: docs/strategies/dmax.md. Unshifted models with a mask token, trained on soft embeddings.
/// Source: DMax, the decoding of its published inference code.
class Dmax final : public BlockStrategy {
 public:
  Dmax(const ModelFacts& facts, const StrategyOptions& options, const DmaxParity& parity = {});

  Span plan(const Sequence& sequence) const override;
  StepOutcome apply(Sequence& sequence,
                    const Span& span,
                    std::span<const Measurement> measurements) const override;

 private:
  struct Choice;

  std::vector<Choice> choose(const Sequence& sequence, std::span<const Measurement> measured) const;
  void settle(const Sequence& sequence, Block& block, std::span<const Choice> choices) const;
  void merge_embeddings(std::span<const Choice> choices, std::vector<RowRecipe>& recipes) const;

  double accept_threshold_;
  double confident_threshold_;
  TokenMergeRules merge_;
  bool measures_filled_;
};

/// Line of the registry.
StrategyEntry dmax_entry();

}  // namespace tessera

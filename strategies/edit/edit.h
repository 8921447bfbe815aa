#pragma once

#include <vector>

#include "common/decoding/model_facts.h"
#include "strategies/strategy_options.h"
#include "strategies/strategy_registry.h"
#include "strategies/templates/block_strategy.h"

namespace tessera {

/// Fill and edit: masks take their token by threshold, and tokens that are there may still be
/// replaced, until the block has had a quiet step.
///
/// Every editable position of an active block is measured; all decisions use the plain confidence.
/// Rules: docs/strategies/edit.md. Unshifted models with a mask token that were trained to correct
/// themselves.
/// Source: LLaDA2.1, the decoding of its published inference code.
class Edit final : public BlockStrategy {
 public:
  Edit(const ModelFacts& facts, const StrategyOptions& options, const BufferParity& parity = {});

  Span plan(const Sequence& sequence) const override;
  StepOutcome apply(Sequence& sequence,
                    const Span& span,
                    std::span<const Measurement> measurements) const override;

 private:
  struct Decision;

  Decision decide(const Sequence& sequence,
                  Block& block,
                  std::span<const Measurement> measured) const;
  void fill_masks(std::span<const Measurement> measured, Decision& decision) const;

  double accept_threshold_;
  double edit_threshold_;
  std::int32_t max_post_edit_steps_;
  float penalty_;
};

/// Line of the registry.
StrategyEntry edit_entry();

}  // namespace tessera

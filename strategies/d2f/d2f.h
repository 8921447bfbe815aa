#pragma once

#include <vector>

#include "common/decoding/model_facts.h"
#include "strategies/strategy_options.h"
#include "strategies/strategy_registry.h"
#include "strategies/templates/block_strategy.h"
#include "strategies/templates/threshold_acceptance.h"

namespace tessera {

/// Choices of the reference engine that differ from the contract; see BufferParity.
struct D2fParity {
  BufferParity buffer;
  bool keeps_prompt_mask = false;  ///< The prompt rule holds in every step, for whatever rows run.
};

/// Discrete diffusion forcing: threshold acceptance over a block buffer, for models that read their
/// prompt bidirectionally.
///
/// The first step forwards the whole prompt under MaskKind::kPromptFull, every later one is
/// block-causal. So K/V of the prompt depends on all of it: the prompt cannot be cut into chunks
/// and no page is shared. A partial prompt block is stored later, block-causally.
///
/// Rules: docs/strategies/d2f.md. Shifted and unshifted models with a mask token.
/// Source: D2F, arXiv:2508.09192.
class D2f final : public BlockStrategy {
 public:
  D2f(const ModelFacts& facts, const StrategyOptions& options, const D2fParity& parity = {});

  std::int32_t reusable_prefix_len(std::int32_t prompt_len) const override;
  Span plan(const Sequence& sequence) const override;
  StepOutcome apply(Sequence& sequence,
                    const Span& span,
                    std::span<const Measurement> measurements) const override;
  std::vector<Span> rebuild(Sequence& sequence, Position cached_len) const override;

 private:
  D2f(const BlockBufferRules& rules, const AcceptanceRules& acceptance, bool keeps_prompt_mask);
  Span under_prompt_rule(const Sequence& sequence, Span span) const;

  ThresholdAcceptance decoding_;
  bool keeps_prompt_mask_;
};

/// Line of the registry.
StrategyEntry d2f_entry();

}  // namespace tessera

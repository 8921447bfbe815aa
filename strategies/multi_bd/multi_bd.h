#pragma once

#include <vector>

#include "common/decoding/model_facts.h"
#include "strategies/strategy_options.h"
#include "strategies/strategy_registry.h"
#include "strategies/templates/block_strategy.h"
#include "strategies/templates/threshold_acceptance.h"

namespace tessera {

/// Multi-block diffusion: up to K blocks of a sequence are denoised side by side; a masked position
/// takes its token when the confidence exceeds a threshold. K = 1 is block diffusion.
///
/// Rules: ThresholdAcceptance over a BlockBuffer; docs/strategies/multi_bd.md.
/// Shifted and unshifted models with a mask token.
/// Source: Block Diffusion, arXiv:2503.09573; Fast-dLLM, arXiv:2505.22618 (threshold);
/// D2F, arXiv:2508.09192 (blocks in flight).
class MultiBd final : public BlockStrategy {
 public:
  MultiBd(const ModelFacts& facts, const StrategyOptions& options, const BufferParity& parity = {});

  Span plan(const Sequence& sequence) const override;
  StepOutcome apply(Sequence& sequence,
                    const Span& span,
                    std::span<const Measurement> measurements) const override;

 private:
  ThresholdAcceptance decoding_;
};

/// Line of the registry.
StrategyEntry multi_bd_entry();

}  // namespace tessera

#include "strategies/multi_bd/multi_bd.h"

#include <utility>

#include "strategies/templates/block_options.h"

namespace tessera {

MultiBd::MultiBd(const ModelFacts& facts,
                 const StrategyOptions& options,
                 const BufferParity& parity)
    : BlockStrategy(block_buffer_rules(facts, options, parity)),
      decoding_(buffer().rules(), acceptance_rules(options)) {}

Span MultiBd::plan(const Sequence& sequence) const {
  return decoding_.plan(sequence);
}

StepOutcome MultiBd::apply(Sequence& sequence,
                           const Span& span,
                           std::span<const Measurement> measurements) const {
  return decoding_.apply(sequence, span, measurements);
}

StrategyEntry multi_bd_entry() {
  return {.name = "multi_bd",
          .summary = "Block diffusion with several blocks in flight and threshold acceptance.",
          .options = threshold_options(),
          .presets = threshold_presets(),
          .refusal =
              [](const ModelFacts& facts) {
                return refusal_without_mask(facts, TrainedAttention::kBlockCausal);
              },
          .create = [](const ModelFacts& facts,
                       const StrategyOptions& options) -> std::unique_ptr<const Strategy> {
            return std::make_unique<MultiBd>(facts, options);
          }};
}

}  // namespace tessera

#pragma once

#include <cstdint>
#include <vector>

#include "common/decoding/model_facts.h"
#include "strategies/strategy.h"
#include "strategies/strategy_options.h"
#include "strategies/strategy_registry.h"

namespace tessera {

/// Choices of the reference engine that differ from the contract; only tests make them.
struct DiffusionGemmaParity {
  bool counts_current_canvas = false;    ///< It is one of the stability_threshold equal ones, and a
                                         ///< mean entropy equal to the threshold is confident.
  bool ignores_rows_past_limit = false;  ///< They are drawn anew in every step and never count.
};

/// Canvas after canvas: C positions that begin as uniform noise are denoised together, without a
/// mask token, until the greedy canvas is stable; then it is encoded causally and the next one
/// opens.
///
/// The canvas in progress is state of this strategy (Sequence::extra): `tokens` holds final ones
/// only. softmax(z) E of the last step stays on the workers (Span::self_conditioning).
///
/// Rules: docs/strategies/diffusion_gemma.md. Models with a canvas length.
/// Source: the published inference code of DiffusionGemma.
class DiffusionGemma final : public Strategy {
 public:
  DiffusionGemma(const ModelFacts& facts,
                 const StrategyOptions& options,
                 const DiffusionGemmaParity& parity = {});

  const StrategyTraits& traits() const override { return traits_; }
  std::int32_t reusable_prefix_len(std::int32_t prompt_len) const override;
  Sequence start(std::vector<TokenId> prompt,
                 const SamplingParams& sampling,
                 const SequenceLimits& limits,
                 Position cached_len) const override;
  Span plan(const Sequence& sequence) const override;
  StepOutcome apply(Sequence& sequence,
                    const Span& span,
                    std::span<const Measurement> measurements) const override;
  std::vector<Span> rebuild(Sequence& sequence, Position cached_len) const override;

 private:
  struct Canvas;

  void open_canvas(Sequence& sequence) const;
  double temperature(std::int32_t step) const;
  Span encoder_rows(const Sequence& sequence, Position begin, Position end) const;
  void denoise(Sequence& sequence,
               std::span<const Measurement> measured,
               StepOutcome& outcome) const;
  bool is_converged(const Canvas& canvas, std::span<const Measurement> counted, double mean) const;
  std::uint64_t last_accepted(std::span<const Measurement> counted,
                              std::span<const std::uint64_t> keys,
                              double mean) const;

  StrategyTraits traits_;
  DiffusionGemmaParity parity_;
  std::int32_t canvas_len_;
  std::int32_t tokenizer_size_;
  std::int32_t max_denoising_steps_;
  double t_min_;
  double t_max_;
  std::int32_t stability_threshold_;
  double confidence_threshold_;
  double entropy_bound_;
};

/// Line of the registry.
StrategyEntry diffusion_gemma_entry();

}  // namespace tessera

#pragma once

#include <vector>

#include "common/decoding/model_facts.h"
#include "strategies/strategy.h"
#include "strategies/strategy_options.h"
#include "strategies/strategy_registry.h"
#include "strategies/templates/dual_cache.h"

namespace tessera {

/// Choices of the reference engine that differ from the contract; see BufferParity.
struct FastDllmV2Parity {
  BufferParity buffer;
  bool seeds_first_buffer = true;  ///< A prompt that fills its buffers yields the next token.
};

/// Sub-block by sub-block decoding of a wide buffer over a dual cache. The first token of a buffer
/// is the greedy choice of the last row before it.
///
/// Acceptance: H = {c > tau}, or the best mask of the current sub-block.
/// Rules: docs/strategies/fast_dllm_v2.md. Models with a mask token.
/// Source: Fast-dLLM v2, arXiv:2509.26328.
class FastDllmV2 final : public Strategy {
 public:
  FastDllmV2(const ModelFacts& facts,
             const StrategyOptions& options,
             const FastDllmV2Parity& parity = {});

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
  void measure_current(const Sequence& sequence, Span& span) const;
  void seed(Sequence& sequence,
            std::span<const Measurement> measurements,
            StepOutcome& outcome) const;

  DualCache cache_;
  StrategyTraits traits_;
  double accept_threshold_;
  bool seeds_first_buffer_;
};

/// Line of the registry.
StrategyEntry fast_dllm_v2_entry();

}  // namespace tessera

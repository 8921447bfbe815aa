#include "strategies/d2f/d2f.h"

#include <algorithm>
#include <utility>

#include "strategies/templates/block_options.h"

namespace tessera {

namespace {

// The prompt saw all of itself: it cannot be cut, and its K/V is nobody else's.
StrategyTraits d2f_traits(const BlockBufferRules& rules) {
  return {.block_size = rules.block_size,
          .max_buffer_rows = rules.block_size * rules.buffer_size,
          .chunk_quantum = 0,
          .prefix_rule = std::nullopt};
}

}  // namespace

D2f::D2f(const ModelFacts& facts, const StrategyOptions& options, const D2fParity& parity)
    : D2f(block_buffer_rules(facts, options, parity.buffer),
          acceptance_rules(options),
          parity.keeps_prompt_mask) {}

D2f::D2f(const BlockBufferRules& rules, const AcceptanceRules& acceptance, bool keeps_prompt_mask)
    : BlockStrategy(rules, d2f_traits(rules)),
      decoding_(rules, acceptance),
      keeps_prompt_mask_(keeps_prompt_mask) {}

std::int32_t D2f::reusable_prefix_len(std::int32_t) const {
  return 0;
}

Span D2f::under_prompt_rule(const Sequence& sequence, Span span) const {
  span.mask = MaskKind::kPromptFull;
  span.prompt_len = sequence.prompt_len;
  return span;
}

Span D2f::plan(const Sequence& sequence) const {
  Span span = decoding_.plan(sequence);
  const bool has_prompt = sequence.num_steps == 0 || keeps_prompt_mask_;
  return has_prompt ? under_prompt_rule(sequence, std::move(span)) : span;
}

StepOutcome D2f::apply(Sequence& sequence,
                       const Span& span,
                       std::span<const Measurement> measurements) const {
  return decoding_.apply(sequence, span, measurements);
}

// The complete blocks of the prompt saw all of the prompt, so all of it is forwarded and they are
// kept; then the blocks behind them, a few at a time so that no forward is larger than a step.
std::vector<Span> D2f::rebuild(Sequence& sequence, Position) const {
  const std::int32_t block_size = traits().block_size;
  const std::int32_t step = traits().max_buffer_rows;
  const Position complete =
      std::min(sequence.prompt_len / block_size * block_size, sequence.cached_len);
  std::vector<Span> spans;
  if (complete > 0) {
    spans = buffer().restore(sequence, 0, sequence.prompt_len);
    spans.front() = under_prompt_rule(sequence, std::move(spans.front()));
    spans.front().stores = {{0, complete}};
  }
  for (Position begin = complete; begin < sequence.cached_len; begin += step) {
    const Position end = std::min(begin + step, sequence.cached_len);
    for (Span& span : buffer().restore(sequence, begin, end)) spans.push_back(std::move(span));
  }
  return spans;
}

StrategyEntry d2f_entry() {
  return {.name = "d2f",
          .summary = "Blocks in flight behind a prompt that is read bidirectionally.",
          .options = threshold_options(),
          .presets = threshold_presets(),
          .refusal =
              [](const ModelFacts& facts) {
                return refusal_without_mask(facts, TrainedAttention::kBidirectionalPrompt);
              },
          .create = [](const ModelFacts& facts, const StrategyOptions& options)
              -> std::unique_ptr<const Strategy> { return std::make_unique<D2f>(facts, options); }};
}

}  // namespace tessera

#pragma once

#include <any>
#include <vector>

#include "common/base/error.h"
#include "common/decoding/sequence.h"

namespace tessera {

/// A sequence of which nothing is decoded or cached: prompt, limits, frontier at the prompt's end.
/// @throws Error{kInvalidArgument} if the prompt is empty or no token fits under the limits.
Sequence new_sequence(std::vector<TokenId> prompt,
                      const SamplingParams& sampling,
                      const SequenceLimits& limits);

/// Measures the token at `position` from logits row `row`: greedy at temperature 0, else sampled
/// with the sequence's parameters. Made in place: a Measure is large, and steps have hundreds.
/// @return The last of span.measures.
Measure& add_choice(
    const Sequence& sequence, Position row, Position position, std::int32_t step, Span& span);

/// The same, greedy whatever the temperature.
Measure& add_greedy(Position row, Position position, std::int32_t step, Span& span);

/// What a strategy keeps in Sequence::extra; const for a const sequence.
template <typename State, typename S>
auto& extra_of(S& sequence) {
  auto* state = std::any_cast<State>(&sequence.extra);
  TESSERA_CHECK(state != nullptr, "the sequence was started by another strategy");
  return *state;
}

bool is_eos(const Sequence& sequence, TokenId token);

/// Ends a step: counts it, moves the frontier right to `frontier` (at most the limit) and checks
/// the finish rules in this order: an EOS left of `eos_horizon`; frontier at the limit; max_nfe;
/// the last max_repetition_run tokens left of the frontier equal.
///
/// output_end is kept at the first EOS left of the frontier, else at the frontier.
/// @param eos_horizon  Equals `frontier` by the contract; parity switches move it.
void end_step(Sequence& sequence, Position frontier, Position eos_horizon);

}  // namespace tessera

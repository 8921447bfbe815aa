#include "strategies/templates/sequence_rules.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

/// First EOS in [begin, end), or `end`.
Position first_eos(const Sequence& sequence, Position begin, Position end) {
  if (sequence.limits.eos_ids.empty()) return end;
  Position q = begin;
  while (q < end && !is_eos(sequence, sequence.tokens[static_cast<std::size_t>(q)])) ++q;
  return q;
}

bool repeats_itself(const Sequence& sequence) {
  const std::int32_t run = sequence.limits.max_repetition_run.value_or(0);
  if (run == 0 || sequence.frontier - sequence.prompt_len < run) return false;
  const auto end = sequence.tokens.begin() + sequence.frontier;
  return std::all_of(end - run, end, [&](TokenId token) { return token == end[-1]; });
}

std::optional<FinishReason> reached_limit(const Sequence& sequence) {
  if (sequence.frontier >= sequence.limit) {
    const bool by_tokens = sequence.limit - sequence.prompt_len == sequence.limits.max_tokens;
    return by_tokens ? FinishReason::kMaxTokens : FinishReason::kMaxModelLen;
  }
  if (sequence.limits.max_nfe.has_value() && sequence.num_steps >= *sequence.limits.max_nfe) {
    return FinishReason::kMaxNfe;
  }
  if (repeats_itself(sequence)) return FinishReason::kRepetition;
  return std::nullopt;
}

}  // namespace

Sequence new_sequence(std::vector<TokenId> prompt,
                      const SamplingParams& sampling,
                      const SequenceLimits& limits) {
  TESSERA_REQUIRE(!prompt.empty(), "the prompt is empty");
  TESSERA_REQUIRE(limits.max_tokens >= 1, "max_tokens is ", limits.max_tokens,
                  "; it must be at least 1");
  TESSERA_REQUIRE(prompt.size() < static_cast<std::size_t>(std::max(limits.max_model_len, 0)),
                  "the prompt has ", prompt.size(), " tokens; with at least one token of output ",
                  limits.max_model_len, " fit (max_model_len)");
  Sequence sequence;
  sequence.sampling = sampling;
  sequence.limits = limits;
  sequence.prompt_len = static_cast<std::int32_t>(prompt.size());
  sequence.limit =
      sequence.prompt_len + std::min(limits.max_tokens, limits.max_model_len - sequence.prompt_len);
  sequence.tokens = std::move(prompt);
  sequence.frontier = sequence.prompt_len;
  sequence.output_end = sequence.prompt_len;
  return sequence;
}

Measure& add_choice(
    const Sequence& sequence, Position row, Position position, std::int32_t step, Span& span) {
  Measure& measure = add_greedy(row, position, step, span);
  if (sequence.sampling.temperature > 0.0F) {
    measure.kind = MeasureKind::kSampled;
    measure.temperature = sequence.sampling.temperature;
    measure.top_p = sequence.sampling.top_p;
    measure.top_k = sequence.sampling.top_k;
    measure.seed = sequence.sampling.seed;
  }
  return measure;
}

Measure& add_greedy(Position row, Position position, std::int32_t step, Span& span) {
  Measure& measure = span.measures.emplace_back();
  measure.row = row;
  measure.position = position;
  measure.denoising_step = step;
  return measure;
}

bool is_eos(const Sequence& sequence, TokenId token) {
  const std::vector<TokenId>& ids = sequence.limits.eos_ids;
  return std::find(ids.begin(), ids.end(), token) != ids.end();
}

void end_step(Sequence& sequence, Position frontier, Position eos_horizon) {
  TESSERA_CHECK(frontier >= sequence.frontier, "frontier moves back from ", sequence.frontier,
                " to ", frontier);
  ++sequence.num_steps;
  if (sequence.output_end == sequence.frontier) {
    sequence.output_end = first_eos(sequence, sequence.frontier, frontier);
  }
  sequence.frontier = frontier;
  const Position filled = std::min(eos_horizon, static_cast<Position>(sequence.tokens.size()));
  const Position eos =
      sequence.output_end < frontier ? sequence.output_end : first_eos(sequence, frontier, filled);
  if (eos < filled) {
    sequence.finish = FinishReason::kEos;
    sequence.output_end = eos;
    return;
  }
  sequence.finish = reached_limit(sequence);
}

}  // namespace tessera

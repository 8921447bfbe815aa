#include "strategies/templates/threshold_acceptance.h"

#include "common/base/error.h"
#include "strategies/templates/sequence_rules.h"

namespace tessera {
namespace {

/// The carried measurement if the forward has no row for this mask of the block, else null.
const Measurement* carried_into(const BlockBuffer& buffer,
                                const Sequence& sequence,
                                const Block& block,
                                Position first_measured) {
  if (sequence.carried.empty()) return nullptr;
  const Measurement& carried = sequence.carried.front();
  const bool applies = carried.position < first_measured &&
                       block.editable.contains(carried.position) &&
                       buffer.is_masked(sequence, carried.position);
  return applies ? &carried : nullptr;
}

}  // namespace

Span ThresholdAcceptance::plan(const Sequence& sequence) const {
  Span span = buffer_.plan_rows(sequence);
  const Position shift = buffer_.rules().shifted ? 1 : 0;
  std::size_t num_masked = 1;  // room for the leaving row
  for (const Block& block : sequence.blocks) {
    num_masked += static_cast<std::size_t>(block.num_masked);
  }
  span.measures.reserve(num_masked);
  for (const Block& block : sequence.blocks) {
    if (block.num_masked == 0) continue;
    for (Position q = block.editable.begin; q < block.editable.end; ++q) {
      if (q - shift < span.first || !buffer_.is_masked(sequence, q)) continue;
      add_choice(sequence, q - shift, q, block.denoising_steps, span);
    }
  }
  buffer_.measure_leaving_row(sequence, span);
  return span;
}

StepOutcome ThresholdAcceptance::apply(Sequence& sequence,
                                       const Span& span,
                                       std::span<const Measurement> measurements) const {
  TESSERA_CHECK(measurements.size() == span.measures.size(), measurements.size(),
                " measurements for ", span.measures.size(), " measures");
  StepOutcome outcome;
  std::span<const Measurement> remaining = measurements;
  const Position first_measured = span.first + (buffer_.rules().shifted ? 1 : 0);
  bool forced = true;  // decisions look at the state before this step's writes
  for (Block& block : sequence.blocks) {
    const bool may_force = forced || rules_.always_force;
    forced = buffer_.progress(block.num_masked) >= rules_.semi_complete_threshold;
    if (block.phase != BlockPhase::kActive) continue;
    const Measurement* carried = carried_into(buffer_, sequence, block, first_measured);
    const auto num_fresh =
        static_cast<std::size_t>(block.num_masked - (carried == nullptr ? 0 : 1));
    TESSERA_CHECK(remaining.size() >= num_fresh, "block ", block.index, " lacks measurements");
    const MaskMeasurements known(carried, remaining.first(num_fresh));
    remaining = remaining.subspan(num_fresh);
    accept_by_threshold(buffer_, sequence, block, known, rules_.accept_threshold, may_force,
                        outcome);
    ++block.denoising_steps;
    block.commit_ready = block.num_masked == 0;
    if (block.commit_ready) block.same_token_ratio = 1.0;
  }
  buffer_.carry(sequence, span, measurements);
  buffer_.advance(sequence, outcome);
  return outcome;
}

void accept_by_threshold(const BlockBuffer& buffer,
                         Sequence& sequence,
                         Block& block,
                         const MaskMeasurements& known,
                         double threshold,
                         bool forced,
                         StepOutcome& outcome) {
  if (known.size() == 0) return;
  std::size_t best = 0;
  for (std::size_t i = 1; i < known.size(); ++i) {
    if (known[i].confidence > known[best].confidence) best = i;
  }
  const bool none_above = !(static_cast<double>(known[best].confidence) > threshold);
  if (none_above && !forced) return;
  for (std::size_t i = 0; i < known.size(); ++i) {
    const bool accepted =
        none_above ? i == best : static_cast<double>(known[i].confidence) > threshold;
    if (!accepted) continue;
    buffer.write(sequence, block, {known[i].position, known[i].token, known[i].confidence},
                 outcome);
  }
}

}  // namespace tessera

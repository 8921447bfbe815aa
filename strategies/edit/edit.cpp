#include "strategies/edit/edit.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/templates/block_options.h"
#include "strategies/templates/sequence_rules.h"

namespace tessera {
/// What becomes of one block, by index into its measurements.
struct Edit::Decision {
  std::vector<std::size_t> masks;
  std::vector<std::size_t> fills;
  std::vector<std::size_t> edits;
  std::int32_t num_filled = 0;     ///< Positions that held a token before.
  std::int32_t num_confirmed = 0;  ///< Of those, the ones whose token is the model's choice.
};

Edit::Edit(const ModelFacts& facts, const StrategyOptions& options, const BufferParity& parity)
    : BlockStrategy(revisable_rules(facts, options, parity)),
      accept_threshold_(options.number("accept_threshold")),
      edit_threshold_(options.number("edit_threshold")),
      max_post_edit_steps_(options.integer("max_post_edit_steps")),
      penalty_(static_cast<float>(options.number("penalty_lambda"))) {}

Span Edit::plan(const Sequence& sequence) const {
  Span span = buffer().plan_rows(sequence);
  span.measures.reserve(static_cast<std::size_t>(traits().max_buffer_rows));
  for (const Block& block : sequence.blocks) {
    if (block.phase != BlockPhase::kActive) continue;
    for (Position q = block.editable.begin; q < block.editable.end; ++q) {
      Measure& measure = add_choice(sequence, q, q, block.denoising_steps, span);
      if (penalty_ > 0.0F && q > block.positions.begin) {
        measure.penalised_id = sequence.tokens[static_cast<std::size_t>(q - 1)];
        measure.penalty = penalty_;
      }
    }
  }
  return span;
}

StepOutcome Edit::apply(Sequence& sequence,
                        const Span& span,
                        std::span<const Measurement> measurements) const {
  TESSERA_CHECK(measurements.size() == span.measures.size(), measurements.size(),
                " measurements for ", span.measures.size(), " measures");
  StepOutcome outcome;
  for (Block& block : sequence.blocks) {
    if (block.phase != BlockPhase::kActive) continue;
    const auto measured = measurements.first(static_cast<std::size_t>(block.editable.size()));
    measurements = measurements.subspan(measured.size());
    const Decision decision = decide(sequence, block, measured);
    const bool timed_out = block.total_steps >= buffer().rules().block_size + max_post_edit_steps_;
    const bool quiet = decision.fills.empty() && decision.edits.empty();
    const bool edited_enough =
        decision.masks.empty() && block.post_edit_steps > max_post_edit_steps_;
    block.commit_ready = timed_out || quiet || edited_enough;
    block.same_token_ratio =
        timed_out || decision.num_filled == 0
            ? 1.0
            : static_cast<double>(decision.num_confirmed) / decision.num_filled;
    std::vector<std::size_t> writes;
    if (timed_out || !block.commit_ready) {
      const std::vector<std::size_t>& fills = timed_out ? decision.masks : decision.fills;
      std::merge(fills.begin(), fills.end(), decision.edits.begin(), decision.edits.end(),
                 std::back_inserter(writes));
    }
    for (const std::size_t i : writes) {
      buffer().write(sequence, block,
                     {measured[i].position, measured[i].token, measured[i].plain_confidence},
                     outcome);
    }
    ++block.denoising_steps;
  }
  buffer().advance(sequence, outcome);
  return outcome;
}

Edit::Decision Edit::decide(const Sequence& sequence,
                            Block& block,
                            std::span<const Measurement> measured) const {
  Decision decision;
  for (std::size_t i = 0; i < measured.size(); ++i) {
    const Measurement& m = measured[i];
    if (buffer().is_masked(sequence, m.position)) {
      decision.masks.push_back(i);
      continue;
    }
    ++decision.num_filled;
    if (m.token == sequence.tokens[static_cast<std::size_t>(m.position)]) {
      ++decision.num_confirmed;
    } else if (static_cast<double>(m.plain_confidence) > edit_threshold_) {
      decision.edits.push_back(i);
    }
  }
  fill_masks(measured, decision);
  if (decision.masks.empty()) ++block.post_edit_steps;
  return decision;
}

// Masks above the threshold, or the best one, the leftmost among equals.
void Edit::fill_masks(std::span<const Measurement> measured, Decision& decision) const {
  if (decision.masks.empty()) return;
  for (const std::size_t i : decision.masks) {
    if (static_cast<double>(measured[i].plain_confidence) > accept_threshold_) {
      decision.fills.push_back(i);
    }
  }
  if (!decision.fills.empty()) return;
  decision.fills.push_back(*std::max_element(
      decision.masks.begin(), decision.masks.end(), [&](std::size_t a, std::size_t b) {
        return measured[a].plain_confidence < measured[b].plain_confidence;
      }));
}

StrategyEntry edit_entry() {
  static const OptionSpec kOptions[] = {
      block_size_option(),
      buffer_size_option(),
      accept_threshold_option(),
      share_option("edit_threshold", 0.0,
                   "Confidence above which another token replaces the one that is there."),
      integer_option("max_post_edit_steps", 16, 0, 1024,
                     "Steps a block may be edited after its last mask was filled."),
      {.name = "penalty_lambda",
       .type = OptionType::kNumber,
       .default_value = 0.0,
       .minimum = 0.0,
       .maximum = 100.0,
       .help = "Subtracted from the logit of the token to the left, against repetitions."},
      add_block_threshold_option(),
      token_stability_threshold_option(),
  };
  return {
      .name = "edit",
      .summary = "Masks are filled, tokens may be corrected, a block ends with a quiet step.",
      .options = kOptions,
      .presets =
          {{{{"accept_threshold", 0.7}, {"edit_threshold", 0.5}, {"buffer_size", std::int64_t{1}}},
            {{"accept_threshold", 0.7}, {"edit_threshold", 0.5}, {"buffer_size", std::int64_t{4}}},
            {{"accept_threshold", 0.5},
             {"edit_threshold", 0.5},
             {"buffer_size", std::int64_t{4}}}}},
      .refusal = &refusal_of_shifted,
      .create = [](const ModelFacts& facts, const StrategyOptions& options)
          -> std::unique_ptr<const Strategy> { return std::make_unique<Edit>(facts, options); }};
}

}  // namespace tessera

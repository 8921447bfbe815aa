#include "strategies/dmax/dmax.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/templates/block_options.h"
#include "strategies/templates/sequence_rules.h"

namespace tessera {
/// What one editable position comes to.
struct Dmax::Choice {
  const Measurement* measurement = nullptr;
  float confidence = 0.0F;
  bool was_masked = false;
  bool is_taken = false;  ///< Holds the measured token from now on.
};

Dmax::Dmax(const ModelFacts& facts, const StrategyOptions& options, const DmaxParity& parity)
    : BlockStrategy(revisable_rules(facts, options, parity.buffer)),
      accept_threshold_(options.number("accept_threshold")),
      confident_threshold_(options.number("dmax_confident_threshold")),
      merge_(token_merge_rules(options)),
      measures_filled_(parity.measures_filled) {}

Span Dmax::plan(const Sequence& sequence) const {
  Span span = buffer().plan_rows(sequence);
  const std::int32_t num_alternatives = num_merge_alternatives(merge_);
  span.measures.reserve(static_cast<std::size_t>(traits().max_buffer_rows));
  for (const Block& block : sequence.blocks) {
    if (block.phase != BlockPhase::kActive) continue;
    for (Position q = block.editable.begin; q < block.editable.end; ++q) {
      add_choice(sequence, q, q, block.denoising_steps, span).num_alternatives = num_alternatives;
    }
  }
  return span;
}

StepOutcome Dmax::apply(Sequence& sequence,
                        const Span& span,
                        std::span<const Measurement> measurements) const {
  TESSERA_CHECK(measurements.size() == span.measures.size(), measurements.size(),
                " measurements for ", span.measures.size(), " measures");
  StepOutcome outcome;
  std::erase_if(sequence.recipes, [&](const RowRecipe& recipe) {
    return std::any_of(sequence.blocks.begin(), sequence.blocks.end(), [&](const Block& block) {
      return block.phase == BlockPhase::kActive && block.editable.contains(recipe.position);
    });
  });
  for (Block& block : sequence.blocks) {
    if (block.phase != BlockPhase::kActive) continue;
    const auto measured = measurements.first(static_cast<std::size_t>(block.editable.size()));
    measurements = measurements.subspan(measured.size());
    const std::vector<Choice> choices = choose(sequence, measured);
    settle(sequence, block, choices);
    for (const Choice& choice : choices) {
      const Measurement& m = *choice.measurement;
      const TokenId old = sequence.tokens[static_cast<std::size_t>(m.position)];
      if (choice.is_taken && m.token != old) {
        buffer().write(sequence, block, {m.position, m.token, m.plain_confidence}, outcome);
      }
    }
    merge_embeddings(choices, sequence.recipes);
    ++block.denoising_steps;
  }
  buffer().advance(sequence, outcome);
  return outcome;
}

// Filled positions are refreshed; of the masks the leading confident ones are taken, at least one.
std::vector<Dmax::Choice> Dmax::choose(const Sequence& sequence,
                                       std::span<const Measurement> measured) const {
  std::vector<Choice> choices;
  choices.reserve(measured.size());
  bool is_first_mask = true;
  bool is_leading = true;
  for (const Measurement& m : measured) {
    Choice choice{&m, m.plain_confidence, buffer().is_masked(sequence, m.position), true};
    if (choice.was_masked) {
      is_leading = is_leading && static_cast<double>(choice.confidence) >= accept_threshold_;
      choice.is_taken = is_leading || is_first_mask;
      is_first_mask = false;
    } else if (!measures_filled_) {
      choice.confidence = 1.0F;
    }
    choices.push_back(choice);
  }
  return choices;
}

// Before the writes: whether the block may end, and how much of it stayed the same.
void Dmax::settle(const Sequence& sequence, Block& block, std::span<const Choice> choices) const {
  std::int32_t num_filled = 0;
  std::int32_t num_same = 0;
  bool any_change = false;
  bool all_confident = true;
  for (const Choice& choice : choices) {
    const Measurement& m = *choice.measurement;
    const bool is_same = m.token == sequence.tokens[static_cast<std::size_t>(m.position)];
    any_change = any_change || (choice.is_taken && !is_same);
    all_confident = all_confident && static_cast<double>(choice.confidence) >= confident_threshold_;
    if (choice.was_masked || m.token == buffer().rules().mask_id) continue;
    ++num_filled;
    num_same += is_same ? 1 : 0;
  }
  block.same_token_ratio = num_filled == 0 ? 1.0 : static_cast<double>(num_same) / num_filled;
  block.commit_ready = !any_change || all_confident;
}

void Dmax::merge_embeddings(std::span<const Choice> choices,
                            std::vector<RowRecipe>& recipes) const {
  for (const Choice& choice : choices) {
    const Measurement& m = *choice.measurement;
    if (!choice.is_taken || m.token == buffer().rules().mask_id) continue;
    if (auto recipe = merged_embedding(merge_, m.token, choice.confidence, m)) {
      recipes.push_back({m.position, *recipe});
    }
  }
}

StrategyEntry dmax_entry() {
  static const OptionSpec kOptions[] = {
      block_size_option(),
      buffer_size_option(),
      accept_threshold_option(),
      share_option("dmax_confident_threshold", 0.9,
                   "Confidence of all its positions at which a block ends though it changed."),
      add_block_threshold_option(),
      token_stability_threshold_option(),
      token_merge_mode_option(),
      token_merge_top_k_option(),
      token_merge_renormalize_option(),
      token_merge_weight_option(),
  };
  return {.name = "dmax",
          .summary = "The leading confident run is accepted, tokens are refreshed until stable.",
          .options = kOptions,
          .presets = {{{{"accept_threshold", 0.9}, {"buffer_size", std::int64_t{1}}},
                       {{"accept_threshold", 0.9}, {"buffer_size", std::int64_t{4}}},
                       {{"accept_threshold", 0.5}, {"buffer_size", std::int64_t{4}}}}},
          .refusal = &refusal_of_shifted,
          .create = [](const ModelFacts& facts,
                       const StrategyOptions& options) -> std::unique_ptr<const Strategy> {
            return std::make_unique<Dmax>(facts, options);
          }};
}

}  // namespace tessera

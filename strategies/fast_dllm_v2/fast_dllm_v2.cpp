#include "strategies/fast_dllm_v2/fast_dllm_v2.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/templates/block_options.h"
#include "strategies/templates/sequence_rules.h"
#include "strategies/templates/threshold_acceptance.h"

namespace tessera {
namespace {

DualCacheRules cache_rules(const ModelFacts& facts,
                           const StrategyOptions& options,
                           const BufferParity& parity) {
  DualCacheRules rules;
  rules.buffer.mask_id = facts.mask_id.value();
  rules.buffer.shifted = facts.shifted;
  rules.buffer.block_size = options.integer("block_size");
  rules.buffer.buffer_size = options.integer("buffer_size");
  rules.buffer.parity = parity;
  rules.refines_from_cache = options.flag("use_block_cache");
  return rules;
}

void require_width_of_model(const ModelFacts& facts, const StrategyOptions& options) {
  const std::int32_t block_size = options.integer("block_size");
  const std::int32_t buffer_size = options.integer("buffer_size");
  TESSERA_REQUIRE(!facts.block_size || block_size * buffer_size == *facts.block_size, "block_size ",
                  block_size, " times buffer_size ", buffer_size, " must be the model's block of ",
                  facts.block_size.value_or(0), " tokens");
}

}  // namespace

FastDllmV2::FastDllmV2(const ModelFacts& facts,
                       const StrategyOptions& options,
                       const FastDllmV2Parity& parity)
    : cache_(cache_rules(facts, options, parity.buffer)),
      accept_threshold_(options.number("accept_threshold")),
      seeds_first_buffer_(parity.seeds_first_buffer) {
  traits_ = {.block_size = cache_.buffer().rules().block_size,
             .max_buffer_rows = cache_.width(),
             .chunk_quantum = cache_.width(),
             .prefix_rule = PrefixRule{MaskKind::kBlockCausal, cache_.width()}};
}

std::int32_t FastDllmV2::reusable_prefix_len(std::int32_t prompt_len) const {
  return cache_.reusable_prefix_len(prompt_len);
}

Sequence FastDllmV2::start(std::vector<TokenId> prompt,
                           const SamplingParams& sampling,
                           const SequenceLimits& limits,
                           Position cached_len) const {
  return cache_.start(std::move(prompt), sampling, limits, cached_len);
}

Span FastDllmV2::plan(const Sequence& sequence) const {
  Span span = cache_.plan_rows(sequence);
  switch (cache_.pass(sequence)) {
    case DualCachePass::kPrompt:
      if (seeds_first_buffer_ && sequence.prompt_len == span.end()) {
        add_greedy(span.end() - 1, span.end(), /*step=*/0, span);
      }
      break;
    case DualCachePass::kFinalCommit:
      if (span.end() < sequence.limit) {
        add_greedy(span.end() - 1, span.end(), /*step=*/0, span);
      }
      break;
    case DualCachePass::kFullBuffer:
    case DualCachePass::kRefine: measure_current(sequence, span); break;
  }
  return span;
}

// On shifted models the first row of a forward keeps its own logits: there is none to its left.
void FastDllmV2::measure_current(const Sequence& sequence, Span& span) const {
  const Block& block = sequence.blocks[cache_.current(sequence)];
  const Position shift = cache_.buffer().rules().shifted ? 1 : 0;
  for (Position q = block.editable.begin; q < block.editable.end; ++q) {
    if (!cache_.buffer().is_masked(sequence, q)) continue;
    add_choice(sequence, std::max(q - shift, span.first), q, block.denoising_steps, span);
  }
}

StepOutcome FastDllmV2::apply(Sequence& sequence,
                              const Span& span,
                              std::span<const Measurement> measurements) const {
  TESSERA_CHECK(measurements.size() == span.measures.size(), measurements.size(),
                " measurements for ", span.measures.size(), " measures");
  StepOutcome outcome;
  const DualCachePass pass = cache_.pass(sequence);
  if (pass == DualCachePass::kPrompt || pass == DualCachePass::kFinalCommit) {
    cache_.commit(sequence, outcome);
    seed(sequence, measurements, outcome);
  } else {
    Block& block = sequence.blocks[cache_.current(sequence)];
    accept_by_threshold(cache_.buffer(), sequence, block, MaskMeasurements(nullptr, measurements),
                        accept_threshold_, /*forced=*/true, outcome);
    ++block.denoising_steps;
    cache_.note_stored(sequence, span);
  }
  cache_.end_step(sequence);
  return outcome;
}

void FastDllmV2::seed(Sequence& sequence,
                      std::span<const Measurement> measurements,
                      StepOutcome& outcome) const {
  if (measurements.empty()) return;
  const Measurement& m = measurements.front();
  cache_.buffer().write(sequence, sequence.blocks.front(), {m.position, m.token, m.confidence},
                        outcome);
}

std::vector<Span> FastDllmV2::rebuild(Sequence& sequence, Position cached_len) const {
  return cache_.rebuild(sequence, cached_len);
}

StrategyEntry fast_dllm_v2_entry() {
  static const OptionSpec kOptions[] = {
      integer_option("block_size", 8, 1, 4096, "Tokens per sub-block (B)."),
      integer_option("buffer_size", 4, 2, 64,
                     "Sub-blocks of the buffer (K). B times K must be the model's block."),
      accept_threshold_option(),
      {.name = "use_block_cache",
       .type = OptionType::kBool,
       .default_value = true,
       .help = "Forward the current sub-block alone against cached rows of the others."},
  };
  return {.name = "fast_dllm_v2",
          .summary = "Sub-blocks of a wide buffer, decoded against a prefix and a suffix cache.",
          .options = kOptions,
          .presets = {{{{"accept_threshold", 0.95}},
                       {{"accept_threshold", 0.9}},
                       {{"accept_threshold", 0.7}}}},
          .refusal =
              [](const ModelFacts& facts) {
                return refusal_without_mask(facts, TrainedAttention::kSubBlocks);
              },
          .create = [](const ModelFacts& facts,
                       const StrategyOptions& options) -> std::unique_ptr<const Strategy> {
            require_width_of_model(facts, options);
            return std::make_unique<FastDllmV2>(facts, options);
          },
          .takes_models_block = false};
}

}  // namespace tessera

#include "strategies/templates/block_buffer.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/templates/sequence_rules.h"

namespace tessera {
namespace {

std::int32_t round_down(std::int32_t value, std::int32_t unit) {
  return value / unit * unit;
}

Position end_of_tokens(const Sequence& sequence) {
  return static_cast<Position>(sequence.tokens.size());
}

}  // namespace

std::string refusal_without_mask(const ModelFacts& facts, TrainedAttention attention) {
  if (facts.attention.value_or(attention) != attention) {
    return detail::concat("it was trained with ", name_of(*facts.attention), ", not with ",
                          name_of(attention));
  }
  if (!facts.mask_id.has_value()) return "it has no mask token (mask_token_id in config.json)";
  if (*facts.mask_id < 0 || *facts.mask_id >= facts.vocab_size) {
    return detail::concat("its mask id ", *facts.mask_id, " is outside the vocabulary of ",
                          facts.vocab_size);
  }
  return {};
}

std::string refusal_of_shifted(const ModelFacts& facts) {
  if (facts.shifted) return "it predicts a token from the row to its left (shifted)";
  return refusal_without_mask(facts, TrainedAttention::kBlockCausal);
}

std::int32_t BlockBuffer::reusable_prefix_len(std::int32_t prompt_len) const {
  const std::int32_t complete = round_down(prompt_len, rules_.block_size);
  const bool last_row_is_measured = rules_.shifted && complete == prompt_len;
  return last_row_is_measured ? std::max(complete - rules_.block_size, 0) : complete;
}

Sequence BlockBuffer::start(std::vector<TokenId> prompt,
                            const SamplingParams& sampling,
                            const SequenceLimits& limits,
                            Position cached_len) const {
  Sequence sequence = new_sequence(std::move(prompt), sampling, limits);
  TESSERA_CHECK(cached_len >= 0 && cached_len % rules_.block_size == 0 &&
                    cached_len <= reusable_prefix_len(sequence.prompt_len),
                "cached_len ", cached_len, " of a prompt of ", sequence.prompt_len);
  sequence.cached_len = cached_len;
  sequence.buffer_start = round_down(sequence.prompt_len, rules_.block_size);
  if (sequence.buffer_start < sequence.prompt_len) append_block(sequence);
  prepare(sequence);
  return sequence;
}

void BlockBuffer::append_block(Sequence& sequence) const {
  const std::int32_t size = rules_.block_size;
  Block block;
  block.positions.begin =
      sequence.buffer_start + static_cast<std::int32_t>(sequence.blocks.size()) * size;
  block.positions.end = block.positions.begin + size;
  block.index = block.positions.begin / size;
  // Empty where the whole block lies in the prompt or beyond the limit.
  block.editable = {std::clamp(sequence.prompt_len, block.positions.begin, block.positions.end),
                    std::clamp(sequence.limit, block.positions.begin, block.positions.end)};
  block.num_masked = block.editable.size();
  const Position num_tokens = std::max(end_of_tokens(sequence), block.positions.end);
  sequence.tokens.resize(static_cast<std::size_t>(num_tokens), rules_.mask_id);
  sequence.blocks.push_back(block);
}

void BlockBuffer::age(Sequence& sequence) const {
  for (Block& block : sequence.blocks) {
    if (block.phase == BlockPhase::kActive) ++block.total_steps;
  }
}

void BlockBuffer::prepare(Sequence& sequence) const {
  age(sequence);
  if (rules_.revisable) sequence.eos_written = eos_written(sequence);
  if (may_activate(sequence)) append_block(sequence);
}

bool BlockBuffer::may_activate(const Sequence& sequence) const {
  const auto num_blocks = static_cast<std::int32_t>(sequence.blocks.size());
  if (num_blocks >= rules_.buffer_size || sequence.eos_written) return false;
  if (sequence.buffer_start + num_blocks * rules_.block_size >= sequence.limit) return false;
  if (num_blocks == 0) return sequence.cached_len == sequence.buffer_start;
  const Block& last = sequence.blocks.back();
  return progress(last.num_masked) >= rules_.add_block_threshold &&
         last.same_token_ratio >= rules_.token_stability_threshold;
}

// Left of the frontier an EOS has ended the sequence, or (parity) has been noted in output_end.
bool BlockBuffer::eos_written(const Sequence& sequence) const {
  if (sequence.output_end < sequence.frontier) return true;
  const auto begin = sequence.tokens.begin() + sequence.frontier;
  const auto end = sequence.tokens.begin() + std::min(end_of_tokens(sequence), sequence.limit);
  return std::any_of(begin, end, [&](TokenId token) { return is_eos(sequence, token); });
}

Span BlockBuffer::plan_rows(const Sequence& sequence) const {
  Position end =
      sequence.blocks.empty() ? sequence.buffer_start : sequence.blocks.back().positions.end;
  if (rules_.parity.cut_tail_rows) {
    end = std::min(end, std::max(sequence.limit, sequence.buffer_start));
  }
  Span span;
  span.first = sequence.cached_len;
  span.tokens.assign(sequence.tokens.begin() + span.first, sequence.tokens.begin() + end);
  span.recipes = sequence.recipes;
  span.cache_len = sequence.cached_len;
  span.mask = MaskKind::kBlockCausal;
  span.mask_block = rules_.block_size;
  Position stored_end = sequence.buffer_start;
  for (const Block& block : sequence.blocks) {
    if (block.phase == BlockPhase::kToCache) stored_end = block.positions.end;
  }
  if (stored_end > span.first) span.stores = {{span.first, stored_end}};
  return span;
}

void BlockBuffer::measure_leaving_row(const Sequence& sequence, Span& span) const {
  if (!rules_.shifted || span.stores.empty()) return;
  const Position next = span.stores.back().end;
  if (next < end_of_tokens(sequence) || next >= sequence.limit) return;
  add_choice(sequence, next - 1, next, /*step=*/0, span);
}

void BlockBuffer::carry(Sequence& sequence,
                        const Span& span,
                        std::span<const Measurement> measurements) const {
  if (!rules_.shifted || span.stores.empty()) return;
  sequence.carried.clear();
  const auto leaving = std::find_if(measurements.begin(), measurements.end(), [&](const auto& m) {
    return m.position == span.stores.back().end;
  });
  if (leaving != measurements.end()) sequence.carried.push_back(*leaving);
}

void BlockBuffer::write(Sequence& sequence,
                        Block& block,
                        const TokenWrite& token_write,
                        StepOutcome& outcome) const {
  TESSERA_CHECK(block.phase == BlockPhase::kActive && block.editable.contains(token_write.position),
                "position ", token_write.position, " cannot be written in block ", block.index);
  TokenId& token = sequence.tokens[static_cast<std::size_t>(token_write.position)];
  TESSERA_CHECK(rules_.revisable || token == rules_.mask_id, "position ", token_write.position,
                " already holds token ", token);
  if (token == rules_.mask_id) --block.num_masked;
  if (token_write.token == rules_.mask_id) ++block.num_masked;
  token = token_write.token;
  if (!rules_.revisable && is_eos(sequence, token)) sequence.eos_written = true;
  outcome.writes.push_back(token_write);
}

void BlockBuffer::advance(Sequence& sequence, StepOutcome& outcome) const {
  commit_stored(sequence, outcome);
  mark_complete(sequence, outcome);
  end_step(sequence);
  if (!sequence.finish.has_value()) prepare(sequence);
}

void BlockBuffer::end_step(Sequence& sequence) const {
  const Position now = frontier(sequence);
  tessera::end_step(sequence, now, eos_horizon(sequence, now));
}

void BlockBuffer::commit_stored(Sequence& sequence, StepOutcome& outcome) const {
  for (; sequence.cached_len < sequence.buffer_start; sequence.cached_len += rules_.block_size) {
    outcome.committed.push_back(sequence.cached_len / rules_.block_size);
  }
  const auto first_active =
      std::find_if(sequence.blocks.begin(), sequence.blocks.end(),
                   [](const Block& block) { return block.phase == BlockPhase::kActive; });
  for (auto block = sequence.blocks.begin(); block != first_active; ++block) {
    outcome.committed.push_back(block->index);
    sequence.cached_len = sequence.buffer_start = block->positions.end;
  }
  sequence.blocks.erase(sequence.blocks.begin(), first_active);
  std::erase_if(sequence.recipes,
                [&](const RowRecipe& r) { return r.position < sequence.cached_len; });
}

void BlockBuffer::mark_complete(Sequence& sequence, StepOutcome& outcome) const {
  for (Block& block : sequence.blocks) {
    if (!block.commit_ready || block.num_masked > 0) break;
    block.phase = BlockPhase::kToCache;
    outcome.to_cache.push_back(block.index);
    if (rules_.parity.commits_recipes) continue;
    std::erase_if(sequence.recipes,
                  [&](const RowRecipe& r) { return block.positions.contains(r.position); });
  }
}

Position BlockBuffer::first_masked(const Sequence& sequence) const {
  const Position end = std::min(sequence.limit, end_of_tokens(sequence));
  Position q = sequence.frontier;
  while (q < end && !is_masked(sequence, q)) ++q;
  return q;
}

Position BlockBuffer::frontier(const Sequence& sequence) const {
  if (!rules_.revisable) return first_masked(sequence);
  Position end = sequence.buffer_start;
  for (const Block& block : sequence.blocks) {
    if (block.phase == BlockPhase::kActive) break;
    end = block.positions.end;
  }
  return std::clamp(end, sequence.prompt_len, sequence.limit);
}

Position BlockBuffer::eos_horizon(const Sequence& sequence, Position frontier) const {
  switch (rules_.parity.eos_rule) {
    case EosRule::kFrozen: return frontier;
    case EosRule::kFilled: return first_masked(sequence);
    case EosRule::kValidBlocks: break;
  }
  const bool all_filled = std::all_of(sequence.blocks.begin(), sequence.blocks.end(),
                                      [](const Block& block) { return block.num_masked == 0; });
  return all_filled ? sequence.limit : sequence.prompt_len;
}

std::vector<Span> BlockBuffer::restore(const Sequence& sequence,
                                       Position begin,
                                       Position end) const {
  if (begin >= end) return {};
  Span span;
  span.first = begin;
  span.tokens.assign(sequence.tokens.begin() + begin, sequence.tokens.begin() + end);
  span.cache_len = begin;
  span.mask = MaskKind::kBlockCausal;
  span.mask_block = rules_.block_size;
  span.stores = {{begin, end}};
  return {std::move(span)};
}

}  // namespace tessera

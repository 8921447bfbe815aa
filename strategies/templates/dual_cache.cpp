#include "strategies/templates/dual_cache.h"

#include <algorithm>
#include <utility>

#include "common/base/error.h"
#include "strategies/templates/sequence_rules.h"

namespace tessera {
namespace {

struct DualCacheState {
  std::size_t current = 0;
  std::vector<TokenId> stored;  ///< Of the last full pass over the buffer; empty before it.
};

}  // namespace

DualCache::DualCache(const DualCacheRules& rules)
    : buffer_(rules.buffer),
      width_(rules.buffer.block_size * rules.buffer.buffer_size),
      refines_from_cache_(rules.refines_from_cache) {}

std::int32_t DualCache::reusable_prefix_len(std::int32_t prompt_len) const {
  const std::int32_t complete = prompt_len / width_ * width_;
  return complete == prompt_len ? std::max(complete - width_, 0) : complete;
}

Sequence DualCache::start(std::vector<TokenId> prompt,
                          const SamplingParams& sampling,
                          const SequenceLimits& limits,
                          Position cached_len) const {
  Sequence sequence = new_sequence(std::move(prompt), sampling, limits);
  TESSERA_CHECK(cached_len >= 0 && cached_len % width_ == 0 &&
                    cached_len <= reusable_prefix_len(sequence.prompt_len),
                "cached_len ", cached_len, " of a prompt of ", sequence.prompt_len);
  sequence.cached_len = cached_len;
  sequence.buffer_start = sequence.prompt_len / width_ * width_;
  open_buffer(sequence);
  buffer_.age(sequence);
  move_on(sequence);
  return sequence;
}

void DualCache::open_buffer(Sequence& sequence) const {
  sequence.blocks.clear();
  for (std::int32_t i = 0; i < buffer_.rules().buffer_size; ++i) buffer_.append_block(sequence);
  sequence.extra = DualCacheState{};
}

void DualCache::move_on(Sequence& sequence) const {
  DualCacheState& state = extra_of<DualCacheState>(sequence);
  while (state.current + 1 < sequence.blocks.size() &&
         sequence.blocks[state.current].num_masked == 0) {
    ++state.current;
  }
}

std::size_t DualCache::current(const Sequence& sequence) const {
  return extra_of<DualCacheState>(sequence).current;
}

DualCachePass DualCache::pass(const Sequence& sequence) const {
  if (sequence.cached_len < sequence.buffer_start) return DualCachePass::kPrompt;
  const DualCacheState& state = extra_of<DualCacheState>(sequence);
  if (state.stored.empty()) return DualCachePass::kFullBuffer;
  const bool is_filled = std::all_of(sequence.blocks.begin(), sequence.blocks.end(),
                                     [](const Block& block) { return block.num_masked == 0; });
  if (is_filled) return DualCachePass::kFinalCommit;
  const Block& block = sequence.blocks[state.current];
  const bool is_new = buffer_.is_masked(sequence, block.positions.begin);
  return is_new || !refines_from_cache_ ? DualCachePass::kFullBuffer : DualCachePass::kRefine;
}

Span DualCache::plan_rows(const Sequence& sequence) const {
  const Position first = sequence.buffer_start;
  Position end = first + width_;
  const DualCachePass kind = pass(sequence);
  if (kind == DualCachePass::kPrompt) return stored_rows(sequence, sequence.cached_len, first);
  if (buffer_.rules().parity.cut_tail_rows) end = std::min(end, sequence.limit);
  if (kind != DualCachePass::kRefine) return stored_rows(sequence, first, end);
  const PositionRange& rows = sequence.blocks[current(sequence)].positions;
  Span span = stored_rows(sequence, rows.begin, std::min(rows.end, end));
  span.cache_len = end;
  span.mask = MaskKind::kCacheOnly;
  return span;
}

void DualCache::commit(Sequence& sequence, StepOutcome& outcome) const {
  const bool is_buffer = sequence.cached_len == sequence.buffer_start;
  const Position end = sequence.buffer_start + (is_buffer ? width_ : 0);
  const std::int32_t block_size = buffer_.rules().block_size;
  for (Position p = sequence.cached_len; p < end; p += block_size) {
    outcome.committed.push_back(p / block_size);
  }
  sequence.cached_len = sequence.buffer_start = end;
  if (is_buffer) open_buffer(sequence);
}

void DualCache::note_stored(Sequence& sequence, const Span& span) const {
  if (span.mask != MaskKind::kCacheOnly) extra_of<DualCacheState>(sequence).stored = span.tokens;
}

void DualCache::end_step(Sequence& sequence) const {
  buffer_.end_step(sequence);
  if (sequence.finish.has_value()) return;
  buffer_.age(sequence);
  move_on(sequence);
}

// A refine pass stores rows that are not stored again here: they are not seen before the pass that
// stores them anew, since every other sub-block begins with a full one.
std::vector<Span> DualCache::rebuild(const Sequence& sequence, Position cached_len) const {
  std::vector<Span> spans;
  if (cached_len < sequence.cached_len) {
    spans.push_back(stored_rows(sequence, cached_len, sequence.cached_len));
  }
  const std::vector<TokenId>& stored = extra_of<DualCacheState>(sequence).stored;
  if (!stored.empty()) {
    const Position first = sequence.buffer_start;
    const auto num_rows = static_cast<Position>(stored.size());
    spans.push_back(stored_rows(sequence, first, first + num_rows));
    spans.back().tokens = stored;
  }
  return spans;
}

Span DualCache::stored_rows(const Sequence& sequence, Position begin, Position end) const {
  Span span;
  span.first = begin;
  span.tokens.assign(sequence.tokens.begin() + begin, sequence.tokens.begin() + end);
  span.cache_len = begin;
  span.mask = MaskKind::kBlockCausal;
  span.mask_block = width_;
  span.stores = {{begin, end}};
  return span;
}

}  // namespace tessera

#include "strategies/templates/block_strategy.h"

#include <utility>

namespace tessera {

BlockStrategy::BlockStrategy(const BlockBufferRules& rules)
    : BlockStrategy(rules,
                    {.block_size = rules.block_size,
                     .max_buffer_rows = rules.block_size * rules.buffer_size,
                     .chunk_quantum = rules.block_size,
                     .prefix_rule = PrefixRule{MaskKind::kBlockCausal, rules.block_size}}) {}

std::int32_t BlockStrategy::reusable_prefix_len(std::int32_t prompt_len) const {
  return buffer_.reusable_prefix_len(prompt_len);
}

Sequence BlockStrategy::start(std::vector<TokenId> prompt,
                              const SamplingParams& sampling,
                              const SequenceLimits& limits,
                              Position cached_len) const {
  return buffer_.start(std::move(prompt), sampling, limits, cached_len);
}

std::vector<Span> BlockStrategy::rebuild(Sequence& sequence, Position cached_len) const {
  return buffer_.restore(sequence, cached_len, sequence.cached_len);
}

}  // namespace tessera

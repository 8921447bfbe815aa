#pragma once

#include <vector>

#include "strategies/strategy.h"
#include "strategies/templates/block_buffer.h"

namespace tessera {

/// What block-causal strategies over a block buffer have in common: everything but what is measured
/// and what becomes of it (plan, apply).
///
/// The K/V of a block depends on the tokens up to its end and on the block size, so prefixes are
/// shared and prompts cut at blocks; active blocks are forwarded in every step anyway, so that a
/// rebuild only stores what is committed.
class BlockStrategy : public Strategy {
 public:
  const StrategyTraits& traits() const override { return traits_; }
  std::int32_t reusable_prefix_len(std::int32_t prompt_len) const override;
  Sequence start(std::vector<TokenId> prompt,
                 const SamplingParams& sampling,
                 const SequenceLimits& limits,
                 Position cached_len) const override;
  std::vector<Span> rebuild(Sequence& sequence, Position cached_len) const override;

 protected:
  explicit BlockStrategy(const BlockBufferRules& rules);
  BlockStrategy(const BlockBufferRules& rules, const StrategyTraits& traits)
      : buffer_(rules), traits_(traits) {}

  const BlockBuffer& buffer() const noexcept { return buffer_; }

 private:
  BlockBuffer buffer_;
  StrategyTraits traits_;
};

}  // namespace tessera

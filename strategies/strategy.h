#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/decoding/sequence.h"
#include "common/decoding/span.h"

namespace tessera {

/// Under which rule K/V of final tokens may be shared: equal tokens under another mask or unit
/// have other K/V. The key of a cached page is (mask, unit, chained hash of tokens).
struct PrefixRule {
  MaskKind mask = MaskKind::kBlockCausal;
  std::int32_t unit = 1;  ///< Block of the mask: B, or the buffer width W of a dual cache.

  bool operator==(const PrefixRule&) const = default;
};

/// Facts about a strategy with its options bound, which the scheduler plans with.
struct StrategyTraits {
  std::int32_t block_size = 1;  ///< Divides the page size.
  std::int32_t max_buffer_rows =
      1;  ///< Most rows beyond cached_len a step forwards after the prompt.
  std::int32_t chunk_quantum = 0;  ///< Leading stored rows may be cut at its multiples; 0: never.
  std::optional<PrefixRule> prefix_rule;  ///< None: pages are never shared.
};

/// A token that a step wrote, or changed.
struct TokenWrite {
  Position position = 0;
  TokenId token = 0;
  float confidence = 0.0F;
};

/// What `apply` did, for the stream, the prefix cache and the tests. The new state itself is in
/// the sequence.
struct StepOutcome {
  std::vector<TokenWrite> writes;
  std::vector<BlockIndex> to_cache;   ///< Blocks whose tokens became final.
  std::vector<BlockIndex> committed;  ///< Blocks whose K/V became final with this step.
};

/// Decides what is forwarded next and what becomes of it. Pure host code:
///
///     plan : sequence               -> rows to forward in this step
///     apply: sequence, measurements -> sequence, newly frozen tokens
///
/// A strategy owns no request, page, thread or kernel; its options are bound at construction; it is
/// immutable and safe to call from any thread. Deterministic: equal arguments, equal results. Work
/// per step is O(rows of the buffer), never O(sequence length), except in the prompt's first step.
///
/// Exact definitions: docs/strategies.
class Strategy {
 public:
  virtual ~Strategy() = default;

  virtual const StrategyTraits& traits() const = 0;

  /// Longest prefix of a prompt that cached pages may replace: a hit must leave every row that the
  /// first step measures. A multiple of the prefix unit; 0 when nothing is shared.
  virtual std::int32_t reusable_prefix_len(std::int32_t prompt_len) const = 0;

  /// State of a new sequence whose positions [0, cached_len) are found in cached pages.
  /// @param cached_len  A multiple of the prefix unit, at most reusable_prefix_len().
  /// @throws Error{kInvalidArgument} if the prompt is empty or does not fit under the limits.
  virtual Sequence start(std::vector<TokenId> prompt,
                         const SamplingParams& sampling,
                         const SequenceLimits& limits,
                         Position cached_len) const = 0;

  /// The whole next step. The scheduler may cut its leading stored rows (see leading_piece) and
  /// forward the pieces over several engine steps; `apply` runs once, after the last piece.
  virtual Span plan(const Sequence& sequence) const = 0;

  /// Advances the sequence by one step.
  /// @param span          What plan(sequence) returned, uncut.
  /// @param measurements  One per span.measures entry, in the same order.
  virtual StepOutcome apply(Sequence& sequence,
                            const Span& span,
                            std::span<const Measurement> measurements) const = 0;

  /// Forwards that refill lost K/V so that the next plan() finds what it expects: to be run in
  /// order, cut like a plan, applied by nobody, not counted in num_steps. May reset what cannot be
  /// rebuilt (a canvas), never anything left of the frontier.
  /// @param cached_len  Positions [0, cached_len) are still held by pages; a multiple of the
  ///                    prefix unit, at most sequence.cached_len, 0 when nothing is shared.
  virtual std::vector<Span> rebuild(Sequence& sequence, Position cached_len) const = 0;
};

}  // namespace tessera

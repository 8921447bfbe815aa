#pragma once

#include <cstdint>
#include <vector>

#include "strategies/templates/block_buffer.h"

namespace tessera {

struct DualCacheRules {
  BlockBufferRules buffer;         ///< B and K; the buffer is W = K B positions wide.
  bool refines_from_cache = true;  ///< False: every pass over the buffer forwards all of it.
};

/// What a forward is for. W is the width of the buffer, F_W its first position.
enum class DualCachePass : std::uint8_t {
  kPrompt,       ///< Complete prompt buffers, stored.
  kFullBuffer,   ///< All rows of the buffer, all stored.
  kRefine,       ///< The current sub-block alone, stored first; sees the cache up to the end of the
                 ///< buffer: prefix, itself, and STALE rows of the other sub-blocks.
  kFinalCommit,  ///< All rows of a buffer without masks, stored for good.
};

/// A buffer whose rows are stored before they are final and rewritten later: one sub-block of it is
/// decoded at a time, against a prefix and a suffix in the cache.
///
///     buffer opens -> full buffer -> refine ... refine -> full buffer (next sub-block) -> ...
///                                                      -> final commit (no masks) -> next buffer
///
/// The current sub-block moves on when it has no masks. A pass is a full one when the buffer's rows
/// were never stored, or when the first position of the current sub-block is masked. All K blocks
/// of the buffer are active at once; rows see each other block-causally on the grid of W.
///
/// Keeps in Sequence::extra which sub-block is current and the tokens of the last full pass: with
/// them a rebuild stores the same stale rows again. Immutable; holds no sequence.
///
/// Source: Fast-dLLM v2, arXiv:2509.26328 (hierarchical caching).
class DualCache {
 public:
  explicit DualCache(const DualCacheRules& rules);

  const BlockBuffer& buffer() const noexcept { return buffer_; }
  std::int32_t width() const noexcept { return width_; }

  /// A prompt that ends with a buffer keeps its last unit: its last row is measured.
  std::int32_t reusable_prefix_len(std::int32_t prompt_len) const;

  /// See Strategy::start.
  Sequence start(std::vector<TokenId> prompt,
                 const SamplingParams& sampling,
                 const SequenceLimits& limits,
                 Position cached_len) const;

  DualCachePass pass(const Sequence& sequence) const;

  /// Index of the sub-block being decoded.
  std::size_t current(const Sequence& sequence) const;

  /// The rows of the next step with tokens and stores; nothing measured.
  Span plan_rows(const Sequence& sequence) const;

  /// After kPrompt and kFinalCommit: what was stored is in cache, the next buffer is open.
  void commit(Sequence& sequence, StepOutcome& outcome) const;

  /// After kFullBuffer and kRefine, before the end of the step: the rows of `span` are stored.
  void note_stored(Sequence& sequence, const Span& span) const;

  /// Counts the step, checks the finish rules, moves the current sub-block on.
  void end_step(Sequence& sequence) const;

  /// See Strategy::rebuild.
  std::vector<Span> rebuild(const Sequence& sequence, Position cached_len) const;

 private:
  void open_buffer(Sequence& sequence) const;
  void move_on(Sequence& sequence) const;
  Span stored_rows(const Sequence& sequence, Position begin, Position end) const;

  BlockBuffer buffer_;
  std::int32_t width_;
  bool refines_from_cache_;
};

}  // namespace tessera

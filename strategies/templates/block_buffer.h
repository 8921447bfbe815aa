#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/decoding/model_facts.h"
#include "common/decoding/sequence.h"
#include "common/decoding/span.h"
#include "strategies/strategy.h"

namespace tessera {

/// When an EOS ends a sequence.
enum class EosRule : std::uint8_t {
  kFrozen,       ///< The contract: once it lies left of the frozen frontier.
  kFilled,       ///< Once everything before it is filled; differs where tokens may be revised.
  kValidBlocks,  ///< Once no valid block has a mask left.
};

/// Choices of the reference engine that differ from the contract. Only tests that compare with it
/// construct a strategy with them; no option reaches them.
struct BufferParity {
  bool cut_tail_rows = false;  ///< The forward ends at the limit, not at the end of the block.
  EosRule eos_rule = EosRule::kFrozen;
  bool commits_recipes = false;  ///< A block is stored with the recipes of its last active step.
};

struct BlockBufferRules {
  TokenId mask_id = 0;
  bool shifted = false;
  std::int32_t block_size = 1;   ///< B
  std::int32_t buffer_size = 1;  ///< K: most valid blocks at a time
  double add_block_threshold = 0.1;
  double token_stability_threshold = 0.0;
  bool revisable = false;  ///< A written token may change until its block is to-cache.
  BufferParity parity;
};

/// The block buffer that strategies over mask tokens share: activation, rows, commits, frontier.
///
///     step: plan   rows [cached_len, end of the last valid block); complete prompt blocks (first
///                  step) and to-cache blocks are stored; block-causal
///           apply  the strategy writes; then advance():
///                    to-cache blocks leave the buffer: in cache, cached_len += B
///                    left to right, active -> to-cache if commit_ready, without masks and behind
///                    a block that is to-cache or in cache
///                    frontier, finish rules
///                    prepare: active blocks age; at most one block becomes active
///
/// A block becomes active if a slot is free, it starts below the limit, no EOS is written, and the
/// buffer is empty and everything before it in cache, or the last valid block has
/// progress >= add_block_threshold and same_token_ratio >= token_stability_threshold, where
/// progress is the share of its B positions that is not masked.
///
/// On shifted models the row of position q - 1 leaves the forward when q becomes the first position
/// of the buffer. What it says about q is measured in the step that stores it and carried.
///
/// Immutable; holds no sequence. A position q is masked iff q >= prompt_len and nothing is accepted
/// there: mask ids inside the prompt are ordinary tokens.
class BlockBuffer {
 public:
  explicit BlockBuffer(const BlockBufferRules& rules) : rules_(rules) {}

  const BlockBufferRules& rules() const noexcept { return rules_; }

  /// Longest prefix of complete blocks whose rows no first step measures.
  std::int32_t reusable_prefix_len(std::int32_t prompt_len) const;

  /// See Strategy::start.
  Sequence start(std::vector<TokenId> prompt,
                 const SamplingParams& sampling,
                 const SequenceLimits& limits,
                 Position cached_len) const;

  bool is_masked(const Sequence& sequence, Position position) const {
    return position >= sequence.prompt_len &&
           sequence.tokens[static_cast<std::size_t>(position)] == rules_.mask_id;
  }

  /// Share of the block that is not masked; prompt tokens and positions from the limit on count as
  /// filled.
  double progress(std::int32_t num_masked) const {
    return static_cast<double>(rules_.block_size - num_masked) / rules_.block_size;
  }

  /// The rows of the next step with tokens, stores and recipes; nothing measured.
  Span plan_rows(const Sequence& sequence) const;

  /// Adds the measurement of the position right of the buffer, when its row leaves the forward with
  /// this step and no block covers it yet. After all other measures.
  void measure_leaving_row(const Sequence& sequence, Span& span) const;

  /// Keeps the measurement of the row that leaves with this step.
  void carry(Sequence& sequence, const Span& span, std::span<const Measurement> measurements) const;

  /// Writes a token into an active block and notes it in `outcome`.
  void write(Sequence& sequence,
             Block& block,
             const TokenWrite& token_write,
             StepOutcome& outcome) const;

  /// Everything after the writes, see above.
  void advance(Sequence& sequence, StepOutcome& outcome) const;

  // The parts of start() and advance() that buffers with other rules of activation and commit use.

  /// The next slot of the buffer becomes an active block.
  void append_block(Sequence& sequence) const;

  /// Counts the step, moves the frontier and checks the finish rules.
  void end_step(Sequence& sequence) const;

  /// Active blocks age by one step.
  void age(Sequence& sequence) const;

  /// Rows [begin, end) again, stored, block-causal, nothing measured. None if the range is empty.
  std::vector<Span> restore(const Sequence& sequence, Position begin, Position end) const;

 private:
  void prepare(Sequence& sequence) const;
  bool may_activate(const Sequence& sequence) const;
  bool eos_written(const Sequence& sequence) const;
  void commit_stored(Sequence& sequence, StepOutcome& outcome) const;
  void mark_complete(Sequence& sequence, StepOutcome& outcome) const;
  Position first_masked(const Sequence& sequence) const;
  Position frontier(const Sequence& sequence) const;
  Position eos_horizon(const Sequence& sequence, Position frontier) const;

  BlockBufferRules rules_;
};

/// Why a model cannot be decoded over mask tokens by a strategy for models of that attention; empty
/// if it can.
std::string refusal_without_mask(const ModelFacts& facts, TrainedAttention attention);

/// The same for block-causal strategies that also need the token of a position from its own row.
std::string refusal_of_shifted(const ModelFacts& facts);

}  // namespace tessera

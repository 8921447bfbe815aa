#pragma once

#include <any>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/embedding_recipe.h"
#include "common/decoding/measurement.h"
#include "common/decoding/sampling.h"
#include "common/decoding/span.h"

namespace tessera {

/// Phase of a valid block of the buffer. Blocks left of the buffer are in cache and slots right of
/// the valid blocks are unused; neither has an object.
///
///     (unused) --activate--> kActive --tokens final--> kToCache --K/V stored--> (in cache)
enum class BlockPhase : std::uint8_t {
  kActive,   ///< Being denoised. Its K/V changes every step, so none of it is kept.
  kToCache,  ///< Tokens final. The next forward pass stores its K/V.
};

/// One valid block of the buffer: positions [index B, (index + 1) B), of which
/// [editable.begin, editable.end) may be written.
struct Block {
  BlockIndex index = 0;
  PositionRange positions;
  PositionRange editable;
  BlockPhase phase = BlockPhase::kActive;
  std::int32_t num_masked = 0;       ///< Masked positions within `editable`.
  std::int32_t total_steps = 0;      ///< Steps the block was already active in when the step began.
  std::int32_t denoising_steps = 0;  ///< Forwards that measured it: step of the random counter.
  std::int32_t post_edit_steps = 0;
  double same_token_ratio = 0.0;
  bool commit_ready = false;
};

enum class FinishReason : std::uint8_t { kEos, kMaxTokens, kMaxModelLen, kMaxNfe, kRepetition };

/// "eos", "max_tokens", "max_model_len", "max_nfe", "repetition".
std::string_view name_of(FinishReason reason);

/// Everything a sequence is while it decodes: a plain value, owned by its request on the engine
/// thread and advanced by its strategy alone. It survives the loss of every page and every rank.
struct Sequence {
  SamplingParams sampling;
  SequenceLimits limits;
  std::int32_t prompt_len = 0;
  Position limit =
      0;  ///< min(prompt_len + max_tokens, max_model_len); nothing is written from here on.
  std::vector<TokenId> tokens;  ///< Prompt, then output; mask ids where nothing is accepted yet.

  Position cached_len =
      0;  ///< K/V of [0, cached_len) is final. Whether pages hold it is the scheduler's.
  Position buffer_start = 0;         ///< Equals cached_len except before the prompt's first step.
  std::vector<Block> blocks;         ///< Valid blocks, kToCache ones first.
  std::vector<Measurement> carried;  ///< Taken by rows that have left the forward (shifted models).
  std::vector<RowRecipe> recipes;    ///< Of active blocks, ascending by position.
  bool eos_written = false;          ///< Some written position below `limit` holds an EOS.

  std::int32_t num_steps = 0;  ///< Forward passes (NFE); chunks and rebuilds not counted.
  Position frontier = 0;       ///< Frozen frontier: nothing left of it ever changes.
  std::optional<FinishReason> finish;
  Position output_end = 0;  ///< Output is [prompt_len, output_end); final once `finish` is set.

  std::any extra;  ///< What one strategy keeps beside this; only that strategy looks inside.
};

}  // namespace tessera

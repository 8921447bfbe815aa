#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/types.h"

namespace tessera {

/// How tokens are drawn from a row of logits, the same for every strategy. Randomness is a pure
/// function of (seed, position, denoising step), see common/base/philox.h.
struct SamplingParams {
  float temperature = 0.0F;  ///< >= 0; 0 is greedy and ignores top_p and top_k.
  float top_p = 1.0F;        ///< (0, 1]; applied after temperature, before top_k.
  std::int32_t top_k = 0;    ///< >= 0; 0 keeps every id. Ties with the k-th largest survive.
  std::uint64_t seed = 0;
};

/// What ends a sequence, besides its strategy's own rules. Every limit counts real tokens.
struct SequenceLimits {
  std::int32_t max_tokens = 512;        ///< >= 1
  std::int32_t max_model_len = 0;       ///< Prompt and output together; > prompt length.
  std::optional<std::int32_t> max_nfe;  ///< Forward passes; chunks and rebuilds are free.
  std::optional<std::int32_t> max_repetition_run;  ///< Equal tokens at the end of the output.
  std::vector<TokenId> eos_ids;                    ///< Empty when EOS is to be ignored.
};

}  // namespace tessera

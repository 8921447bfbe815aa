#pragma once

#include <cstdint>
#include <vector>

#include "common/base/types.h"

namespace tessera {

enum class MeasureKind : std::uint8_t {
  kGreedy,   ///< argmax of the logits, highest id among equals, and its probability
  kSampled,  ///< argmax of logits / temperature + Gumbel noise, after top_p and top_k
  kCanvas,   ///< one position of a denoised canvas: sampled and greedy choice, entropy
};

/// What a step is asked to learn about one position.
///
/// With l the fp32 logits of row `row`, forbidden ids (the mask id, ids beyond the tokenizer) at
/// -inf and `penalty` subtracted at `penalised_id`, before anything else:
///   kGreedy   token = argmax l; confidence = plain_confidence = softmax(l)[token]
///   kSampled  t = l / temperature filtered by top_p then top_k; token = argmax(t + gumbel(seed,
///             position, step, id)); confidence = softmax(t)[token]; plain = softmax(l)[token]
///   kCanvas   z = l / temperature; token = argmax(z + gumbel) (argmax z at temperature 0);
///             greedy_token = argmax z; entropy of softmax(z). softmax(z) E stays on the worker
///             as the self-conditioning vector of this position.
struct Measure {
  MeasureKind kind = MeasureKind::kGreedy;
  Position row = 0;       ///< Absolute position of the row that is read; lies in the span.
  Position position = 0;  ///< Position the token is for (row + 1 on shifted models).
  std::int32_t denoising_step = 0;  ///< Step of the random counter.
  float temperature = 0.0F;
  float top_p = 1.0F;
  std::int32_t top_k = 0;
  std::uint64_t seed = 0;
  TokenId penalised_id = -1;  ///< -1: none
  float penalty = 0.0F;
  std::int32_t num_alternatives = 0;  ///< Most probable ids to report (0 to 8), by softmax(l).

  bool operator==(const Measure&) const = default;
};

/// A probable token beside the chosen one.
struct Alternative {
  TokenId token = 0;
  float probability = 0.0F;

  bool operator==(const Alternative&) const = default;
};

/// What a step learned about one position. Probabilities are fp32 values in (0, 1].
struct Measurement {
  Position position = 0;
  TokenId token = 0;
  float confidence = 0.0F;
  float plain_confidence = 0.0F;
  std::vector<Alternative> alternatives;  ///< By descending probability, then descending id.
  TokenId greedy_token = 0;               ///< kCanvas
  float entropy = 0.0F;                   ///< kCanvas, natural logarithm

  bool operator==(const Measurement&) const = default;
};

}  // namespace tessera

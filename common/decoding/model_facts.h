#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "common/base/types.h"

namespace tessera {

/// What a decoding strategy must know about a model; states nothing about its layers.
struct ModelFacts {
  std::int32_t vocab_size = 0;      ///< Width of a row of logits.
  std::int32_t tokenizer_size = 0;  ///< Ids >= this pad the vocabulary and are never chosen.
  std::optional<TokenId> mask_id;   ///< None for models that denoise a canvas.
  std::vector<TokenId> eos_ids;     ///< Any of these ends a request.
  bool shifted = false;             ///< The token at position q is predicted by the row at q - 1.
  std::optional<std::int32_t> block_size;     ///< Default of the checkpoint, when it states one.
  std::optional<std::int32_t> canvas_length;  ///< Tokens per canvas, for models that denoise one.
};

}  // namespace tessera

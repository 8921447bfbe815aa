#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/base/types.h"

namespace tessera {

/// How a model was trained to attend, where its family says so. Decides which strategies fit.
enum class TrainedAttention : std::uint8_t {
  kBlockCausal,          ///< Blocks on one grid, prompt included.
  kBidirectionalPrompt,  ///< The prompt sees all of itself; blocks behind it.
  kSubBlocks,            ///< Block-causal; a block is decoded in sub-blocks, its first token known.
  kCanvas,               ///< A causal prefix and a canvas that sees all of it.
};

constexpr std::string_view name_of(TrainedAttention attention) {
  switch (attention) {
    case TrainedAttention::kBlockCausal: return "block-causal attention";
    case TrainedAttention::kBidirectionalPrompt: return "a bidirectional prompt";
    case TrainedAttention::kSubBlocks: return "sub-blocks whose first token is known";
    case TrainedAttention::kCanvas: return "a canvas";
  }
  return "unknown attention";
}

/// What a decoding strategy must know about a model; states nothing about its layers.
struct ModelFacts {
  std::int32_t vocab_size = 0;      ///< Width of a row of logits.
  std::int32_t tokenizer_size = 0;  ///< Ids >= this pad the vocabulary and are never chosen.
  std::optional<TokenId> mask_id;   ///< None for models that denoise a canvas.
  std::vector<TokenId> eos_ids;     ///< Any of these ends a request.
  std::optional<TrainedAttention> attention;  ///< None: any strategy may be tried.
  bool shifted = false;  ///< The token at position q is predicted by the row at q - 1.
  std::optional<std::int32_t> block_size;     ///< Default of the checkpoint, when it states one.
  std::optional<std::int32_t> canvas_length;  ///< Tokens per canvas, for models that denoise one.
};

}  // namespace tessera

#include "coordinator/text/incremental_detokenizer.h"

namespace tessera {

std::string IncrementalDetokenizer::push(std::span<const TokenId> ids) {
  std::string text;
  for (const TokenId id : ids) {
    if (skip_special_ && tokenizer_.is_special(id)) continue;
    decoder_.push(tokenizer_.id_to_bytes(id), text);
  }
  return text;
}

std::string IncrementalDetokenizer::finish() {
  std::string text;
  decoder_.finish(text);
  return text;
}

}  // namespace tessera

#include "coordinator/text/incremental_detokenizer.h"

namespace tessera {

std::string IncrementalDetokenizer::push(std::span<const TokenId> ids) {
  std::string text;
  tokenizer_.decode_part(ids, skip_special_, decoder_, text);
  return text;
}

std::string IncrementalDetokenizer::finish() {
  std::string text;
  decoder_.finish(text);
  return text;
}

}  // namespace tessera

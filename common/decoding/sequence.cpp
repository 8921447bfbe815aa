#include "common/decoding/sequence.h"

#include "common/base/error.h"

namespace tessera {

std::string_view name_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos: return "eos";
    case FinishReason::kMaxTokens: return "max_tokens";
    case FinishReason::kMaxModelLen: return "max_model_len";
    case FinishReason::kMaxNfe: return "max_nfe";
    case FinishReason::kRepetition: return "repetition";
  }
  TESSERA_CHECK(false, "finish reason ", static_cast<int>(reason));
}

}  // namespace tessera

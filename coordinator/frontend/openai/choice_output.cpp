#include "coordinator/frontend/openai/choice_output.h"

#include <utility>

#include "common/base/error.h"

namespace tessera {
namespace {

ChoiceEnd end_of(FinishReason reason) {
  switch (reason) {
    case FinishReason::kEos: return {"stop", "eos", {}};
    case FinishReason::kMaxTokens: return {"length", "max_tokens", {}};
    case FinishReason::kMaxModelLen: return {"length", "context", {}};
    case FinishReason::kMaxNfe: return {"length", "max_nfe", {}};
    case FinishReason::kRepetition: return {"length", "repetition", {}};
  }
  TESSERA_CHECK(false, "finish reason ", static_cast<int>(reason));
}

}  // namespace

void ChoiceOutput::push_text(std::string_view text) {
  pending_.text += stops_.push(text);
  if (stops_.matched()) end_ = {"stop", "stop_string", stops_.matched()};
}

void ChoiceOutput::push(std::span<const TokenId> frozen) {
  for (const TokenId id : frozen) {
    if (end_) return;
    ++num_tokens_;
    pending_.ids.push_back(id);
    push_text(detokenizer_.push(id));
  }
}

void ChoiceOutput::finish(FinishReason reason) {
  if (end_) return;
  push_text(detokenizer_.finish());
  if (end_) return;
  pending_.text += stops_.finish();
  end_ = end_of(reason);
}

ChoiceOutput::Delta ChoiceOutput::take() {
  if (pending_.text.empty() && !end_) return {};
  return std::exchange(pending_, {});
}

}  // namespace tessera

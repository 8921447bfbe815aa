#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/types.h"
#include "common/decoding/sequence.h"
#include "coordinator/frontend/openai/stop_matcher.h"
#include "coordinator/text/incremental_detokenizer.h"

namespace tessera {

/// How a choice ended.
struct ChoiceEnd {
  std::string_view finish_reason;          ///< "stop" or "length", as clients expect.
  std::string_view detail;                 ///< "eos", "stop_string", "max_tokens", ...
  std::optional<std::string> stop_string;  ///< The one that matched.
};

/// The answer of one choice: frozen tokens in, certain text out.
///
/// Text is held back while it may become part of a character or a stop string. The text ends
/// before the stop string; the tokens end with the one that completed it.
///
/// A plain value, owned by the server's thread.
class ChoiceOutput {
 public:
  ChoiceOutput(const Tokenizer& tokenizer, std::vector<std::string> stops)
      : detokenizer_(tokenizer), stops_(std::move(stops)) {}

  /// Text and tokens that go to the client together.
  struct Delta {
    std::string text;
    std::vector<TokenId> ids;
  };

  /// Appends frozen tokens; those behind a stop string are dropped.
  void push(std::span<const TokenId> frozen);

  /// The sequence finished; a stop string found before wins.
  void finish(FinishReason reason);

  /// What became certain since the last call. Tokens without text wait for their text, or the end.
  Delta take();

  const std::optional<ChoiceEnd>& end() const noexcept { return end_; }
  std::int32_t num_tokens() const noexcept { return num_tokens_; }

 private:
  void push_text(std::string_view text);

  IncrementalDetokenizer detokenizer_;
  StopMatcher stops_;
  Delta pending_;
  std::optional<ChoiceEnd> end_;
  std::int32_t num_tokens_ = 0;
};

}  // namespace tessera

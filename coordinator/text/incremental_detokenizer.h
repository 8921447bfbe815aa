#pragma once

#include <span>
#include <string>

#include "common/base/types.h"
#include "coordinator/text/tokenizer.h"

namespace tessera {

/// Turns tokens that arrive a few at a time into text that arrives a few characters at a time.
///
/// What push() returns is valid UTF-8 and final. Held back is what a later token can change: the
/// bytes of an unfinished character; with byte fallback all of a run of bytes that has not ended,
/// because one wrong byte makes U+FFFD of the whole run; what a Strip may cut off at the end. For
/// every way of cutting `ids`,
///
///     push(a) + push(b) + ... + finish() == tokenizer.decode(ids, skip_special)
///
/// A plain value, owned by one thread.
class IncrementalDetokenizer {
 public:
  explicit IncrementalDetokenizer(Tokenizer tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)),
        skip_special_(skip_special),
        decoder_(tokenizer_.make_decoder()) {}

  /// Text that is certain after `ids`. May be empty.
  std::string push(std::span<const TokenId> ids);
  std::string push(TokenId id) { return push(std::span<const TokenId>(&id, 1)); }

  /// The held back rest, U+FFFD for a character that was never completed. The next push() starts a
  /// new text.
  std::string finish();

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  TokenDecoder decoder_;
};

}  // namespace tessera

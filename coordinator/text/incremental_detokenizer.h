#pragma once

#include <span>
#include <string>

#include "common/base/types.h"
#include "coordinator/text/tokenizer.h"
#include "coordinator/text/utf8.h"

namespace tessera {

/// Turns tokens that arrive a few at a time into text that arrives a few characters at a time.
///
/// What push() returns is valid UTF-8 and final. Bytes that may still become a character with the
/// next token are held back (at most three). For every way of cutting `ids`,
///
///     push(a) + push(b) + ... + finish() == tokenizer.decode(ids, skip_special)
///
/// A plain value, owned by one thread.
class IncrementalDetokenizer {
 public:
  explicit IncrementalDetokenizer(Tokenizer tokenizer, bool skip_special = true)
      : tokenizer_(std::move(tokenizer)), skip_special_(skip_special) {}

  /// Text that is certain after `ids`. May be empty.
  std::string push(std::span<const TokenId> ids);
  std::string push(TokenId id) { return push(std::span<const TokenId>(&id, 1)); }

  /// The held back rest: nothing, or U+FFFD for a character that was never completed. The next
  /// push() starts a new text.
  std::string finish();

  /// Number of bytes held back, 0 to 3.
  int num_pending_bytes() const noexcept { return decoder_.num_pending(); }

 private:
  Tokenizer tokenizer_;
  bool skip_special_;
  Utf8Decoder decoder_;
};

}  // namespace tessera

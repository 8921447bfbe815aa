#pragma once

#include <vector>

#include "common/base/types.h"
#include "coordinator/text/json_field.h"
#include "coordinator/text/pre_tokenizer.h"

// Readers of the components of a tokenizer.json other than the model. Each takes the component's
// field and throws Error{kInvalidArgument} that names it for a type or option that is not
// supported.

namespace tessera {

/// `normalizer`: null, NFC, or a Sequence of those. @return Whether text is brought to NFC.
bool read_normalizer(const JsonField& field);

/// `pre_tokenizer`: Split, Digits and ByteLevel, alone or in a Sequence. ByteLevel must be there
/// and come last: behind it the file's text is in the byte alphabet, ours is still in bytes.
PreTokenizer read_pre_tokenizer(const JsonField& field);

/// `decoder`: ByteLevel, alone or as the only member of a Sequence.
void check_decoder(const JsonField& field);

/// Tokens that go around a text.
struct SurroundingTokens {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

/// `post_processor`: null, ByteLevel (which only moves offsets), TemplateProcessing, or a Sequence.
SurroundingTokens read_post_processor(const JsonField& field);

}  // namespace tessera

#pragma once

#include <vector>

#include "common/base/types.h"
#include "coordinator/text/json_field.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/token_decoder.h"

// Readers of the components of a tokenizer.json other than the model. Each takes the component's
// field and throws Error{kInvalidArgument} that names it for a type or option that is not
// supported.

namespace tessera {

/// `normalizer`: null, NFC, Replace and Prepend, alone or in a Sequence.
Normalizer read_normalizer(const JsonField& field);

/// A pre-tokenizer, and whether its words are in the byte alphabet in the file (ours are in bytes).
struct WordSplitting {
  PreTokenizer pre_tokenizer;
  bool byte_level = false;
};

/// `pre_tokenizer`: null, Split, Digits and ByteLevel, alone or in a Sequence. ByteLevel must come
/// last: behind it the file's text is in the byte alphabet.
WordSplitting read_pre_tokenizer(const JsonField& field);

/// `decoder`: ByteLevel alone, or Replace, ByteFallback, Fuse and Strip alone or in a Sequence. Of
/// ByteFallback and Fuse there may be one each, in this order, and only Strip after Fuse.
DecoderRules read_decoder(const JsonField& field);

/// Tokens that go around a text.
struct SurroundingTokens {
  std::vector<TokenId> prefix;
  std::vector<TokenId> suffix;
};

/// `post_processor`: null, ByteLevel (which only moves offsets), TemplateProcessing, or a Sequence.
SurroundingTokens read_post_processor(const JsonField& field);

}  // namespace tessera

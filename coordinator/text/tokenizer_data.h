#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "common/base/types.h"
#include "coordinator/text/added_tokens.h"
#include "coordinator/text/bpe.h"
#include "coordinator/text/normalizer.h"
#include "coordinator/text/pre_tokenizer.h"
#include "coordinator/text/token_decoder.h"

namespace tessera {

/// What one id stands for. An empty piece: the id is a hole.
struct TokenEntry {
  std::string piece;  ///< As the file spells it.
  TokenText text;     ///< What it adds to decoded text.
  bool special = false;
  bool skipped = false;  ///< Left out of decoded text on request.
};

/// A tokenizer.json, checked and ready for use. Immutable once made.
struct TokenizerData {
  std::vector<TokenEntry> tokens;  ///< By id.
  std::unordered_map<std::string, TokenId> id_of_piece;
  std::vector<TokenId> special_ids;   ///< Ascending.
  AddedTokenFinder raw_added;         ///< Added tokens that are looked for in the text as it came,
  AddedTokenFinder normalized_added;  ///< and those looked for after normalising.
  Normalizer normalizer;
  PreTokenizer pre_tokenizer;
  Bpe bpe;
  DecoderRules decoder;
  std::vector<TokenId> prefix_ids;  ///< The post-processor's tokens before the text,
  std::vector<TokenId> suffix_ids;  ///< and after it.
};

/// Parses the content of a tokenizer.json.
/// @throws Error{kInvalidArgument} as Tokenizer::from_json.
TokenizerData read_tokenizer_data(std::string_view json, const std::string& name);

}  // namespace tessera

#pragma once

#include <array>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/base/types.h"
#include "coordinator/text/flat_map.h"

namespace tessera {

/// Ids by byte; -1: the vocabulary has no token for it.
using ByteTokens = std::array<TokenId, 256>;

/// The tokens that a word starts as in a byte-level vocabulary: one per byte.
class ByteSymbols {
 public:
  /// @param tokens  -1 only for bytes that no UTF-8 contains.
  explicit ByteSymbols(const ByteTokens& tokens) : tokens_(tokens) {}

  /// Appends the tokens of `word` (well-formed UTF-8).
  void append(std::string_view word, std::vector<TokenId>& ids) const;

 private:
  ByteTokens tokens_;
};

/// The tokens that a word starts as in a vocabulary of characters. A character that is no token
/// falls back to the tokens of its bytes ("<0xE4>") if all of them exist, else it is unknown:
/// the unknown token, or nothing where there is none.
///
/// An unknown token is held until the next character of the vocabulary, or the end. So tokens of
/// bytes go before an unknown character that came before them, and `fuse_unknown` joins unknown
/// characters across them.
///
/// Source: `BPE::merge_word` of the Hugging Face tokenizers library, followed to the letter.
class CharacterSymbols {
 public:
  /// @param characters  Tokens of one character. @param bytes  All -1: no byte fallback.
  CharacterSymbols(std::span<const std::pair<char32_t, TokenId>> characters,
                   const ByteTokens& bytes,
                   std::optional<TokenId> unknown,
                   bool fuse_unknown);

  /// Appends the tokens of `word` (well-formed UTF-8).
  void append(std::string_view word, std::vector<TokenId>& ids) const;

 private:
  bool append_bytes(std::string_view character, std::vector<TokenId>& ids) const;

  std::array<TokenId, 128> ascii_;
  FlatMap<TokenId> characters_;  // Beyond ASCII.
  ByteTokens bytes_;
  std::optional<TokenId> unknown_;
  bool fuse_unknown_;
};

using BpeSymbols = std::variant<ByteSymbols, CharacterSymbols>;

}  // namespace tessera

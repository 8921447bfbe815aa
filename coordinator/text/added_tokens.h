#pragma once

#include <array>
#include <bitset>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/types.h"
#include "coordinator/text/regex.h"

namespace tessera {

/// A token that is found in the text itself, before any BPE. Field names as in the file.
struct AddedToken {
  TokenId id = 0;
  std::string content;
  bool single_word = false;  ///< Not where a word character touches it.
  bool lstrip = false;       ///< Swallows the white space before it.
  bool rstrip = false;       ///< Swallows the white space after it.
  bool normalized = false;   ///< Looked for in normalised text, in its own normalised form.
  bool special = false;
};

/// A stretch of text that became an added token, or (no id) that is still to be tokenised.
struct TextPiece {
  std::optional<TokenId> id;
  std::string_view text;
};

/// Finds added tokens in text: leftmost first, the longest of those that begin there.
///
/// Immutable, any thread. The rules, down to those of overlapping strips, are those of
/// `AddedVocabulary::find_matches` of the Hugging Face tokenizers library.
class AddedTokenFinder {
 public:
  /// `tokens` are looked for literally by `content`; the caller normalised it where due.
  explicit AddedTokenFinder(std::vector<AddedToken> tokens);

  /// Cuts `text` (well-formed UTF-8) up and appends the pieces, which borrow it.
  ///
  /// @param parse_special  False: special tokens are not cut out (but still hide the tokens that
  ///                       lie inside them).
  void split(std::string_view text, bool parse_special, std::vector<TextPiece>& pieces) const;

 private:
  struct Node {
    std::array<std::int32_t, 16> child{};  // By half bytes, high half first; 0: none.
    std::int32_t token = -1;               // Index into tokens_ of the token that ends here.
  };

  void insert(std::int32_t token);
  std::int32_t longest_match_at(std::string_view text, std::size_t begin) const noexcept;
  bool is_single_word(std::string_view text, TextRange match) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::bitset<256> first_bytes_;
  Regex ends_with_word_;
  Regex starts_with_word_;
};

}  // namespace tessera

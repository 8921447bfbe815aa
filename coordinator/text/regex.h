#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

struct pcre2_real_code_8;

namespace tessera {

/// A stretch of a text, in bytes.
struct TextRange {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// A regular expression with Unicode classes, as `tokenizer.json` files hold them (the dialect of
/// Oniguruma as far as published tokenizers use it: classes, lookahead, possessive quantifiers).
/// `\s` means the property White_Space, as there. Compiled to machine code where PCRE2 can.
///
/// Immutable, any thread.
class Regex {
 public:
  /// @param pattern  UTF-8. @param where  What to call it in messages.
  /// @throws Error{kInvalidArgument} for a pattern that does not compile.
  Regex(std::string_view pattern, std::string where);

  /// Matches `text` itself, character by character.
  static Regex literal(std::string_view text, std::string where);

  /// All matches in `text` (well-formed UTF-8), left to right, not overlapping, none empty right
  /// behind another match. Appends to `matches`.
  /// @throws Error{kInvalidArgument} if the pattern backtracks beyond PCRE2's limits.
  void find_all(std::string_view text, std::vector<TextRange>& matches) const;

  /// Whether the pattern matches anywhere in `text`.
  bool found_in(std::string_view text) const;

 private:
  bool find(std::string_view text, std::size_t from, void* match_data, TextRange& match) const;

  std::string where_;
  std::string literal_;  // Of literal(): found without the pattern.
  std::shared_ptr<const pcre2_real_code_8> code_;
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "coordinator/text/normalizer.h"
#include "coordinator/text/utf8.h"

namespace tessera {

/// Cuts up to `start` copies of a character from the front of a text, then up to `stop` from what
/// is left at its end.
struct StripRule {
  std::string content;  ///< One character.
  std::int32_t start = 0;
  std::int32_t stop = 0;

  std::string_view apply(std::string_view text) const noexcept;
};

using TokenRule = std::variant<ReplaceStep, StripRule>;

/// `text` after all of `rules`.
std::string apply_rules(const std::vector<TokenRule>& rules, std::string text);

/// How the decoder of a tokenizer.json makes text of tokens.
///
///     byte level:     bytes of the tokens -> UTF-8
///     otherwise:      token -> token_rules -> byte fallback -> part_rules -> join -> text_rules
///
/// Byte fallback joins neighbouring tokens "<0xNN>" into a run. A run that is UTF-8 as a whole
/// becomes one part; any other becomes one U+FFFD per byte, its valid characters too.
///
/// Source: the decoders of the Hugging Face tokenizers library.
struct DecoderRules {
  bool byte_level = false;
  bool byte_fallback = false;
  std::vector<TokenRule> token_rules;
  std::vector<TokenRule> part_rules;
  std::vector<StripRule> text_rules;
};

/// What one token adds to decoded text.
struct TokenText {
  std::string bytes;     ///< UTF-8 by itself unless byte level or `is_byte`.
  bool is_byte = false;  ///< One byte of a run.
};

/// Text of a token that the file spells `piece`.
TokenText decode_piece(const DecoderRules& rules, std::string_view piece);

/// A StripRule over a text that arrives in parts.
class StripStream {
 public:
  explicit StripStream(const StripRule& rule) : rule_(&rule), num_to_cut_(rule.start) {}

  /// The part of `text` (whole characters) that is certain to stay, and what was held back before.
  void push(std::string_view text, std::string& out);

 private:
  const StripRule* rule_;
  std::int32_t num_to_cut_;    // Copies at the front, until another character comes.
  std::int32_t num_held_ = 0;  // Copies that are cut if the text ends here.
};

/// Turns the texts of tokens into text as far as it is certain. The output depends on the tokens
/// alone, never on where calls were cut. A plain value; borrows `rules`.
class TokenDecoder {
 public:
  explicit TokenDecoder(const DecoderRules& rules) : rules_(&rules) { restart(); }

  /// Appends to `out` what the tokens to come can no longer change: valid UTF-8.
  void push(std::string_view bytes, bool is_byte, std::string& out);

  /// Appends the rest. The next push() starts a new text.
  void finish(std::string& out);

 private:
  void restart();
  void flush_run(std::string& out);
  void emit(std::string_view part, std::string& out);

  const DecoderRules* rules_;
  Utf8Decoder utf8_;  // Byte level only.
  std::string run_;   // Bytes of the run that is open.
  std::vector<StripStream> strips_;
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

/// The alphabet in which byte-level BPE files spell tokens: every byte is one printable
/// character. Printable bytes of Latin-1 stand for themselves, the other 68 are U+0100 onwards in
/// ascending order (a space is U+0120, "Ġ").
///
/// Source: `bytes_to_unicode` of the GPT-2 encoder.
char32_t char_of_byte(unsigned char byte) noexcept;

/// The byte a character stands for.
std::optional<unsigned char> byte_of_char(char32_t character) noexcept;

/// Bytes that a token spelled `piece` (UTF-8) adds to decoded text. A piece with a character
/// outside the alphabet stands for its own UTF-8 bytes, as a whole: the rule of `tokenizers`.
std::string bytes_of_piece(std::string_view piece);

}  // namespace tessera

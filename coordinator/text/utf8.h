#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

/// Offset of the first byte of `text` that is not part of well-formed UTF-8, if any. Surrogates,
/// overlong forms and code points above U+10FFFF are ill-formed.
std::optional<std::size_t> find_invalid_utf8(std::string_view text) noexcept;

/// Appends the UTF-8 form of `code_point`, which must be a Unicode scalar value.
void append_utf8(std::string& out, char32_t code_point);

/// Code point at `offset` of well-formed `text`; moves `offset` past it.
char32_t next_code_point(std::string_view text, std::size_t& offset) noexcept;

/// Number of code points of well-formed `text`.
std::size_t count_code_points(std::string_view text) noexcept;

/// Replaces ill-formed bytes of a stream by U+FFFD, one per maximal subpart of an ill-formed
/// sequence (Unicode 15, section 3.9, "U+FFFD Substitution of Maximal Subparts").
///
/// The output depends on the concatenation of the input alone, never on where it was cut.
class Utf8Decoder {
 public:
  /// Appends everything to `out` that the next byte can no longer change.
  void push(std::string_view bytes, std::string& out);

  /// Appends U+FFFD if a sequence was left incomplete, and forgets it.
  void finish(std::string& out);

 private:
  void push_byte(unsigned char byte, std::string& out);

  std::array<char, 4> pending_{};
  int num_pending_ = 0;
};

}  // namespace tessera

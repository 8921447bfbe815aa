#pragma once

#include <cstddef>
#include <string_view>

namespace tessera {

/// The Unicode property White_Space.
bool is_white_space(char32_t c) noexcept;

/// What `str.isspace` of Python calls white space: White_Space and the separators U+001C to U+001F.
bool is_python_space(char32_t c) noexcept;

/// Bytes of White_Space characters that well-formed `text` begins with.
std::size_t leading_white_space(std::string_view text) noexcept;

/// Length of `text` without the White_Space characters at its end.
std::size_t end_without_white_space(std::string_view text) noexcept;

}  // namespace tessera

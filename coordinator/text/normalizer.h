#pragma once

#include <string>
#include <string_view>

namespace tessera {

/// Whether `text` (well-formed UTF-8) is certainly in normalisation form C. May be false for text
/// that is: a cheap test for the common case.
bool is_certainly_nfc(std::string_view text) noexcept;

/// Normalisation form C of well-formed UTF-8 (Unicode standard annex 15).
std::string to_nfc(std::string_view text);

}  // namespace tessera

#include "coordinator/text/white_space.h"

#include "coordinator/text/utf8.h"

namespace tessera {

bool is_white_space(char32_t c) noexcept {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

bool is_python_space(char32_t c) noexcept {
  return is_white_space(c) || (c >= 0x1C && c <= 0x1F);
}

std::size_t leading_white_space(std::string_view text) noexcept {
  std::size_t end = 0;
  for (std::size_t i = 0; i < text.size();) {
    if (!is_white_space(next_code_point(text, i))) break;
    end = i;
  }
  return end;
}

std::size_t end_without_white_space(std::string_view text) noexcept {
  std::size_t end = text.size();
  while (end > 0) {
    std::size_t begin = end - 1;
    while (begin > 0 && (static_cast<unsigned char>(text[begin]) & 0xC0U) == 0x80U) --begin;
    std::size_t next = begin;
    if (!is_white_space(next_code_point(text, next))) break;
    end = begin;
  }
  return end;
}

}  // namespace tessera

#include "coordinator/text/normalizer.h"

#include <utf8proc.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <memory>

#include "common/base/error.h"
#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

// Ranges of characters that NFC leaves alone whatever stands around them: they neither decompose,
// nor combine with what is before them, nor are reordered. A test compares them with utf8proc.
bool is_inert(char32_t c) noexcept {
  return c < 0x300 ||                     // Latin with its precomposed letters
         (c >= 0x400 && c <= 0x482) ||    // Cyrillic
         (c >= 0x2010 && c <= 0x2027) ||  // dashes, quotes, ellipsis
         (c >= 0x3000 && c <= 0x3029) ||  // CJK punctuation
         (c >= 0x3041 && c <= 0x3096) ||  // Hiragana
         (c >= 0x30A0 && c <= 0x30FF) ||  // Katakana
         (c >= 0x4E00 && c <= 0x9FFF) ||  // CJK ideographs
         (c >= 0xAC00 && c <= 0xD7A3) ||  // Hangul syllables
         (c >= 0xFF01 && c <= 0xFFDC) ||  // full-width forms
         (c >= 0x1F300 && c <= 0x1F9FF);  // emoji
}

}  // namespace

bool is_certainly_nfc(std::string_view text) noexcept {
  for (std::size_t i = 0; i < text.size();) {
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
    } else if (!is_inert(next_code_point(text, i))) {
      return false;
    }
  }
  return true;
}

std::string to_nfc(std::string_view text) {
  if (text.empty() || is_certainly_nfc(text)) return std::string(text);
  constexpr std::size_t kMaxBytes = std::numeric_limits<std::int32_t>::max();
  TESSERA_REQUIRE(text.size() <= kMaxBytes, "a text of ", text.size(), " bytes is too long");
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  TESSERA_CHECK(size >= 0, "normalising failed: ", utf8proc_errmsg(size));
  return {reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size)};
}

}  // namespace tessera

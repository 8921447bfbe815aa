#include "coordinator/text/normalizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <iterator>
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

struct Range {
  char32_t first;
  char32_t last;
};

// Characters with a combining class or a decomposition that are younger than the data of the
// tokenizers library (Unicode 9; utf8proc has 14): it lets them stand and combines nothing across.
constexpr Range kYoung[] = {
    {0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
    {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x1715, 0x1715},
    {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},   {0x10D24, 0x10D27},
    {0x10EAB, 0x10EAC}, {0x10F46, 0x10F50}, {0x10F82, 0x10F85}, {0x11070, 0x11070},
    {0x1133B, 0x1133B}, {0x1145E, 0x1145E}, {0x11839, 0x1183A}, {0x11938, 0x11938},
    {0x1193D, 0x1193E}, {0x11943, 0x11943}, {0x119E0, 0x119E0}, {0x11A34, 0x11A34},
    {0x11A47, 0x11A47}, {0x11A99, 0x11A99}, {0x11D42, 0x11D42}, {0x11D44, 0x11D45},
    {0x11D97, 0x11D97}, {0x16FF0, 0x16FF1}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}};

bool is_young(char32_t c) noexcept {
  const Range* range = std::lower_bound(
      std::begin(kYoung), std::end(kYoung), c,
      [](const Range& candidate, char32_t wanted) { return candidate.last < wanted; });
  return range != std::end(kYoung) && range->first <= c;
}

void append_nfc(std::string_view text, std::string& out) {
  if (text.empty()) return;
  constexpr std::size_t kMaxBytes = std::numeric_limits<std::int32_t>::max();
  TESSERA_REQUIRE(text.size() <= kMaxBytes, "a text of ", text.size(), " bytes is too long");
  utf8proc_uint8_t* mapped = nullptr;
  const utf8proc_ssize_t size =
      utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                   static_cast<utf8proc_ssize_t>(text.size()), &mapped,
                   static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(mapped, &std::free);
  TESSERA_CHECK(size >= 0, "normalising failed: ", utf8proc_errmsg(size));
  out.append(reinterpret_cast<const char*>(mapped), static_cast<std::size_t>(size));
}

// Each writes the changed text to `out`, or returns false: nothing to change.
bool run(const NfcStep&, std::string_view text, std::string& out) {
  if (is_certainly_nfc(text)) return false;
  out = to_nfc(text);
  return true;
}

bool run(const ReplaceStep& step, std::string_view text, std::string& out) {
  out.clear();
  step.apply(text, out);
  return true;
}

bool run(const PrependStep& step, std::string_view text, std::string& out) {
  if (text.empty()) return false;
  out.assign(step.text).append(text);
  return true;
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
  std::string out;
  std::size_t begin = 0;  // Of what comes behind the last young character.
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t at = i;
    if (static_cast<unsigned char>(text[i]) < 0x80) {
      ++i;
    } else if (is_young(next_code_point(text, i))) {
      append_nfc(text.substr(begin, at - begin), out);
      out.append(text, at, i - at);
      begin = i;
    }
  }
  append_nfc(text.substr(begin), out);
  return out;
}

void ReplaceStep::apply(std::string_view text, std::string& out) const {
  // A pattern may match the empty text, but the library never looks for it there.
  if (text.empty()) return;
  std::vector<TextRange> matches;
  pattern.find_all(text, matches);
  std::size_t end = 0;
  for (const TextRange& match : matches) {
    out.append(text, end, match.begin - end).append(content);
    end = match.end;
  }
  out.append(text, end);
}

std::string_view Normalizer::apply(std::string_view text, Workspace& work) const {
  for (const NormalizerStep& step : steps_) {
    if (std::visit([&](const auto& s) { return run(s, text, work.next); }, step)) {
      work.text.swap(work.next);
      text = work.text;
    }
  }
  return text;
}

}  // namespace tessera

#include "coordinator/text/python_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>

#include "coordinator/text/utf8.h"
#include "coordinator/text/white_space.h"

namespace tessera::python {
namespace {

using CodePoints = std::u32string;

CodePoints decode(std::string_view text) {
  CodePoints out;
  for (std::size_t i = 0; i < text.size();) out.push_back(next_code_point(text, i));
  return out;
}

utf8proc_category_t category(char32_t c) noexcept {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

bool is_letter(char32_t c) noexcept {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

char32_t to_upper(char32_t c) noexcept {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}

char32_t to_lower(char32_t c) noexcept {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}

char32_t to_title(char32_t c) noexcept {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}

bool is_cased(char32_t c) noexcept {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
         kind == UTF8PROC_CATEGORY_LT;
}

template <typename Map>
std::string map_characters(std::string_view text, Map map) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) append_utf8(out, map(next_code_point(text, i)));
  return out;
}

template <typename Holds>
bool all_of(std::string_view text, Holds holds) {
  for (std::size_t i = 0; i < text.size();) {
    if (!holds(next_code_point(text, i))) return false;
  }
  return !text.empty();
}

// Whether every cased letter is of `kind`, and there is one.
bool has_only_case(std::string_view text, utf8proc_category_t kind) {
  bool found = false;
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (!is_cased(c)) continue;
    if (category(c) != kind) return false;
    found = true;
  }
  return found;
}

// [begin, end) of each run that is not white space.
std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t at = i;
    if (!is_python_space(next_code_point(text, i))) continue;
    if (begin < at) words.push_back(text.substr(begin, at - begin));
    begin = i;
  }
  if (begin < text.size()) words.push_back(text.substr(begin));
  return words;
}

std::vector<std::string> split_at_spaces(std::string_view text,
                                         std::int64_t max_splits,
                                         bool from_right) {
  const std::vector<std::string_view> words = words_of(text);
  std::vector<std::string> parts(words.begin(), words.end());
  const auto limit = static_cast<std::size_t>(max_splits < 0 ? 0 : max_splits);
  if (max_splits < 0 || words.size() <= limit) return parts;
  // The uncut rest keeps its inner spaces and loses those at the end that faces the cuts.
  if (from_right) {
    const std::string_view& last = words[words.size() - limit - 1];
    const auto end = static_cast<std::size_t>(last.data() + last.size() - text.data());
    std::vector<std::string> out{std::string(strip(text.substr(0, end), Side::kRight))};
    out.insert(out.end(), words.end() - static_cast<std::ptrdiff_t>(limit), words.end());
    return out;
  }
  parts.resize(limit);
  const auto begin = static_cast<std::size_t>(words[limit].data() - text.data());
  parts.emplace_back(text.substr(begin));
  return parts;
}

bool is_printable(char32_t c) noexcept {
  if (c == U' ') return true;
  switch (category(c)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
  }
}

void append_hex(std::string& out, char32_t c) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const int width = c <= 0xFF ? 2 : c <= 0xFFFF ? 4 : 8;
  out += width == 2 ? "\\x" : width == 4 ? "\\u" : "\\U";
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) {
    out.push_back(kDigits[(static_cast<std::uint32_t>(c) >> shift) & 0xFU]);
  }
}

}  // namespace

std::string_view strip(std::string_view text, Side side, std::optional<std::string_view> chars) {
  const CodePoints set = decode(chars.value_or(""));
  const auto goes = [&](char32_t c) {
    return chars ? set.find(c) != CodePoints::npos : is_python_space(c);
  };
  std::size_t begin = 0;
  while (side != Side::kRight && begin < text.size()) {
    std::size_t next = begin;
    if (!goes(next_code_point(text, next))) break;
    begin = next;
  }
  std::size_t end = text.size();
  while (side != Side::kLeft && end > begin) {
    std::size_t last = end - 1;
    while ((static_cast<unsigned char>(text[last]) & 0xC0U) == 0x80U) --last;
    std::size_t next = last;
    if (!goes(next_code_point(text, next))) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

std::vector<std::string> split(std::string_view text,
                               std::optional<std::string_view> separator,
                               std::int64_t max_splits,
                               bool from_right) {
  if (!separator) return split_at_spaces(text, max_splits, from_right);
  std::vector<std::string> parts;
  while (max_splits < 0 || static_cast<std::int64_t>(parts.size()) < max_splits) {
    const std::size_t at = from_right ? text.rfind(*separator) : text.find(*separator);
    if (at == std::string_view::npos) break;
    const std::size_t after = at + separator->size();
    parts.emplace_back(from_right ? text.substr(after) : text.substr(0, at));
    text = from_right ? text.substr(0, at) : text.substr(after);
  }
  parts.emplace_back(text);
  if (from_right) std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<std::string> split_lines(std::string_view text, bool keep_ends) {
  const auto ends_line = [](char32_t c) {
    return (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
           c == 0x2029;
  };
  std::vector<std::string> lines;
  std::size_t begin = 0;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t at = i;
    const char32_t c = next_code_point(text, i);
    if (!ends_line(c)) continue;
    if (c == U'\r' && i < text.size() && text[i] == '\n') ++i;
    lines.emplace_back(text.substr(begin, (keep_ends ? i : at) - begin));
    begin = i;
  }
  if (begin < text.size()) lines.emplace_back(text.substr(begin));
  return lines;
}

std::string replace(std::string_view text,
                    std::string_view from,
                    std::string_view to,
                    std::int64_t max_count) {
  std::string out;
  std::int64_t count = 0;
  const auto may_go_on = [&] { return max_count < 0 || count < max_count; };
  if (from.empty()) {  // Before every character and at the end.
    for (std::size_t i = 0; i < text.size();) {
      const std::size_t at = i;
      next_code_point(text, i);
      if (may_go_on()) {
        out += to;
        ++count;
      }
      out += text.substr(at, i - at);
    }
    if (may_go_on()) out += to;
    return out;
  }
  while (may_go_on()) {
    const std::size_t at = text.find(from);
    if (at == std::string_view::npos) break;
    out += text.substr(0, at);
    out += to;
    text = text.substr(at + from.size());
    ++count;
  }
  out += text;
  return out;
}

std::string upper(std::string_view text) {
  return map_characters(text, to_upper);
}

std::string lower(std::string_view text) {
  return map_characters(text, to_lower);
}

std::string title(std::string_view text) {
  bool inside = false;
  return map_characters(text, [&](char32_t c) {
    const char32_t mapped = inside ? to_lower(c) : to_title(c);
    inside = is_cased(c);
    return mapped;
  });
}

std::string capitalize(std::string_view text) {
  bool first = true;
  return map_characters(text, [&](char32_t c) {
    const char32_t mapped = first ? to_title(c) : to_lower(c);
    first = false;
    return mapped;
  });
}

bool is_space(std::string_view text) {
  return all_of(text, is_python_space);
}

bool is_digit(std::string_view text) {
  return all_of(text, [](char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; });
}

bool is_alpha(std::string_view text) {
  return all_of(text, is_letter);
}

bool is_alnum(std::string_view text) {
  return all_of(text, [](char32_t c) {
    const auto kind = category(c);
    return is_letter(c) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
           kind == UTF8PROC_CATEGORY_NO;
  });
}

bool is_upper(std::string_view text) {
  return has_only_case(text, UTF8PROC_CATEGORY_LU);
}

bool is_lower(std::string_view text) {
  return has_only_case(text, UTF8PROC_CATEGORY_LL);
}

std::vector<std::string> characters(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t at = i;
    next_code_point(text, i);
    out.emplace_back(text.substr(at, i - at));
  }
  return out;
}

std::string repr(std::string_view text) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const bool has_double = text.find('"') != std::string_view::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  std::string out(1, quote);
  for (std::size_t i = 0; i < text.size();) {
    const char32_t c = next_code_point(text, i);
    if (c == static_cast<char32_t>(quote) || c == U'\\') {
      out.push_back('\\');
      out.push_back(static_cast<char>(c));
    } else if (c == U'\n') {
      out += "\\n";
    } else if (c == U'\r') {
      out += "\\r";
    } else if (c == U'\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append_utf8(out, c);
    } else {
      append_hex(out, c);
    }
  }
  out.push_back(quote);
  return out;
}

std::string repr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::array<char, 64> buffer{};
  const double size = std::abs(value);
  const bool exponent = size != 0.0 && (size < 1e-4 || size >= 1e16);
  const auto format = exponent ? std::chars_format::scientific : std::chars_format::fixed;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, format);
  std::string text(buffer.data(), end.ptr);
  if (!exponent && text.find('.') == std::string::npos) text += ".0";
  return text;
}

}  // namespace tessera::python

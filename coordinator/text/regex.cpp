#include "coordinator/text/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>

#include "common/base/error.h"
#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

constexpr std::size_t kMaxPatternBytes = 1 << 16;

struct FreeMatchData {
  void operator()(pcre2_match_data* data) const noexcept { pcre2_match_data_free(data); }
};
using MatchData = std::unique_ptr<pcre2_match_data, FreeMatchData>;

MatchData make_match_data(const pcre2_code* code) {
  MatchData data(pcre2_match_data_create_from_pattern(code, nullptr));
  TESSERA_CHECK(data != nullptr, "out of memory for a regular expression");
  return data;
}

std::string message_of(int error) {
  std::array<PCRE2_UCHAR, 256> buffer{};
  pcre2_get_error_message(error, buffer.data(), buffer.size());
  return reinterpret_cast<const char*>(buffer.data());
}

// PCRE2's \s has U+180E besides the White_Space characters; Oniguruma's and Python's have not.
std::string with_unicode_spaces(std::string_view pattern) {
  std::string out;
  for (std::size_t i = 0; i < pattern.size(); ++i) {
    if (pattern[i] != '\\' || i + 1 == pattern.size()) {
      out.push_back(pattern[i]);
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's') {
      out.append("\\p{White_Space}");
    } else if (escaped == 'S') {
      out.append("\\P{White_Space}");
    } else {
      out.push_back('\\');
      out.push_back(escaped);
    }
  }
  return out;
}

// A literal as a pattern: every ASCII character that is not alphanumeric is escaped.
std::string escaped(std::string_view literal) {
  std::string pattern;
  for (const char c : literal) {
    const auto byte = static_cast<unsigned char>(c);
    const bool alphanumeric = (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
                              (byte >= 'a' && byte <= 'z') || byte >= 0x80;
    if (!alphanumeric) pattern.push_back('\\');
    pattern.push_back(c);
  }
  return pattern;
}

}  // namespace

Regex::Regex(std::string_view pattern, std::string where) : where_(std::move(where)) {
  TESSERA_REQUIRE(pattern.size() <= kMaxPatternBytes, where_, " has ", pattern.size(),
                  " bytes, at most ", kMaxPatternBytes, " are allowed");
  const std::string adapted = with_unicode_spaces(pattern);
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(adapted.data()), adapted.size(),
                    PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &offset, nullptr);
  TESSERA_REQUIRE(code != nullptr, where_,
                  " is not a usable regular expression: ", message_of(error), " (near byte ",
                  offset, " of ", adapted, ")");
  code_ = std::shared_ptr<const pcre2_code>(
      code, [](const pcre2_code* c) { pcre2_code_free(const_cast<pcre2_code*>(c)); });
  // Where there is no JIT the interpreter gives the same matches, ten times slower.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

Regex Regex::literal(std::string_view text, std::string where) {
  Regex regex(escaped(text), std::move(where));
  regex.literal_ = text;
  return regex;
}

bool Regex::find(std::string_view text,
                 std::size_t from,
                 void* match_data,
                 TextRange& match) const {
  auto* data = static_cast<pcre2_match_data*>(match_data);
  const auto run = [&](std::uint32_t options) {
    return pcre2_match(code_.get(), reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                       PCRE2_NO_UTF_CHECK | options, data, nullptr);
  };
  int result = run(0);
  // The interpreter backtracks on the heap and gets through what the JIT's small stack cannot.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = run(PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  TESSERA_REQUIRE(result > 0, where_, " cannot be matched against this text: ", message_of(result));
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(data);
  match = {bounds[0], bounds[1]};
  TESSERA_REQUIRE(match.begin >= from && match.begin <= match.end, where_,
                  " moves the start of a match (\\K), which is not supported");
  return true;
}

void Regex::find_all(std::string_view text, std::vector<TextRange>& matches) const {
  if (!literal_.empty()) {
    for (std::size_t i = text.find(literal_); i != std::string_view::npos;
         i = text.find(literal_, i + literal_.size())) {
      matches.push_back({i, i + literal_.size()});
    }
    return;
  }
  const MatchData data = make_match_data(code_.get());
  std::size_t from = 0;
  std::size_t last_end = text.size() + 1;  // no match yet
  TextRange match;
  while (from <= text.size() && find(text, from, data.get(), match)) {
    const bool empty = match.begin == match.end;
    if (!empty || match.end != last_end) {
      matches.push_back(match);
      last_end = match.end;
    }
    from = match.end;
    if (!empty) continue;
    if (from == text.size()) break;
    next_code_point(text, from);
  }
}

bool Regex::found_in(std::string_view text) const {
  const MatchData data = make_match_data(code_.get());
  TextRange match;
  return find(text, 0, data.get(), match);
}

}  // namespace tessera

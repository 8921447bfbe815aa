#include "coordinator/text/jinja_lexer.h"

#include <algorithm>
#include <array>
#include <optional>

#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/python_text.h"
#include "coordinator/text/utf8.h"

namespace tessera::jinja {
namespace {

bool is_digit(char c) noexcept {
  return c >= '0' && c <= '9';
}

bool is_name_start(char c) noexcept {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool is_name_part(char c) noexcept {
  return is_name_start(c) || is_digit(c);
}

bool is_blank_line_start(std::string_view text) {
  return python::strip(text).empty();
}

// Line ends become \n, one at the very end goes: Jinja2's defaults.
std::string normalize_newlines(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) lex_text();
    push(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  enum class Tag : std::uint8_t { kVariable, kBlock, kComment };

  bool starts_with(std::string_view what) const noexcept {
    return std::string_view(source_).substr(at_, what.size()) == what;
  }

  void advance(std::size_t count) {
    const auto begin = source_.begin() + static_cast<std::ptrdiff_t>(at_);
    line_ += static_cast<int>(std::count(begin, begin + static_cast<std::ptrdiff_t>(count), '\n'));
    at_ += count;
  }

  void skip_white_space() {
    const std::string_view rest = std::string_view(source_).substr(at_);
    advance(rest.size() - python::strip(rest, python::Side::kLeft).size());
  }

  void push(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  // Text up to the next tag, then that tag.
  void lex_text() {
    const std::size_t begin = at_;
    std::size_t open = source_.find('{', at_);
    while (open != std::string::npos &&
           (open + 1 == source_.size() ||
            std::string_view("{%#").find(source_[open + 1]) == std::string_view::npos)) {
      open = source_.find('{', open + 1);
    }
    if (open == std::string::npos) {
      push_text(std::string_view(source_).substr(begin));
      advance(source_.size() - begin);
      return;
    }
    const char second = source_[open + 1];
    const Tag tag = second == '{' ? Tag::kVariable : second == '%' ? Tag::kBlock : Tag::kComment;
    const char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
    push_text(text_before(begin, open, sign, tag));
    advance(open + 2 - begin);
    if (sign == '-' || sign == '+') advance(1);
    lex_tag(tag);
  }

  std::string_view text_before(std::size_t begin, std::size_t end, char sign, Tag tag) const {
    const std::string_view text = std::string_view(source_).substr(begin, end - begin);
    if (sign == '-') return python::strip(text, python::Side::kRight);
    if (sign == '+' || tag == Tag::kVariable) return text;
    const std::size_t newline = text.rfind('\n');
    const std::size_t line_start = newline == std::string_view::npos ? 0 : newline + 1;
    const bool at_line_start = line_start > 0 || begin == 0 || source_[begin - 1] == '\n';
    if (at_line_start && is_blank_line_start(text.substr(line_start))) {
      return text.substr(0, line_start);
    }
    return text;
  }

  void push_text(std::string_view text) {
    if (!text.empty()) push(TokenKind::kText, std::string(text));
  }

  void lex_tag(Tag tag) {
    if (tag == Tag::kComment) {
      lex_comment();
    } else if (tag == Tag::kBlock && is_raw_tag()) {
      lex_raw();
    } else {
      push(tag == Tag::kVariable ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
      lex_expression(tag);
    }
  }

  // What a closing tag at at_ swallows: -%} all white space, %} one newline, +%} nothing.
  // Variables keep the newline. False if no closing tag stands here.
  bool take_close(std::string_view close, bool trims_newline) {
    if (starts_with("-" + std::string(close))) {
      advance(1 + close.size());
      skip_white_space();
      return true;
    }
    if (trims_newline && starts_with("+" + std::string(close))) {
      advance(1 + close.size());
      return true;
    }
    if (!starts_with(close)) return false;
    advance(close.size());
    if (trims_newline && starts_with("\n")) advance(1);
    return true;
  }

  void lex_comment() {
    const int begin_line = line_;
    const std::size_t close = source_.find("#}", at_);
    if (close == std::string::npos) fail_at(begin_line, "a comment is not closed");
    const bool signed_close =
        close > at_ && (source_[close - 1] == '-' || source_[close - 1] == '+');
    advance(close - at_ - (signed_close ? 1 : 0));
    take_close("#}", /*trims_newline=*/true);
  }

  bool is_raw_tag() const {
    const std::string_view rest = python::strip(std::string_view(source_).substr(at_, 64));
    if (rest.substr(0, 3) != "raw") return false;
    const std::string_view behind = python::strip(rest.substr(3));
    return behind.substr(0, 2) == "%}" || behind.substr(0, 3) == "-%}";
  }

  void lex_raw() {
    const int begin_line = line_;
    skip_white_space();
    advance(std::string_view("raw").size());
    skip_white_space();
    take_close("%}", /*trims_newline=*/starts_with("-"));  // A raw block keeps its first newline.
    const std::size_t begin = at_;
    for (std::size_t open = source_.find("{%", begin); open != std::string::npos;
         open = source_.find("{%", open + 2)) {
      const char sign = open + 2 < source_.size() ? source_[open + 2] : '\0';
      const std::size_t name_at = open + (sign == '-' || sign == '+' ? 3 : 2);
      const std::string_view rest =
          std::string_view(source_).substr(std::min(name_at, source_.size()));
      const std::string_view name = python::strip(rest, python::Side::kLeft);
      if (name.substr(0, 6) != "endraw") continue;
      push_text(text_before(begin, open, sign, Tag::kBlock));
      advance(name_at - at_ + (rest.size() - name.size()) + 6);
      skip_white_space();
      if (!take_close("%}", /*trims_newline=*/true)) fail_at(line_, "endraw takes no arguments");
      return;
    }
    fail_at(begin_line, "a raw block is not closed");
  }

  void lex_expression(Tag tag) {
    const std::string_view close = tag == Tag::kVariable ? "}}" : "%}";
    const TokenKind end = tag == Tag::kVariable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd;
    const int begin_line = line_;
    std::string open_brackets;
    while (true) {
      skip_white_space();
      if (at_ == source_.size()) fail_at(begin_line, "a tag is not closed, ", close, " is missing");
      // Inside brackets "}}" closes two dicts.
      if (open_brackets.empty()) {
        const int line = line_;
        if (take_close(close, tag == Tag::kBlock)) {
          tokens_.push_back({end, "", line});
          return;
        }
      }
      lex_token(open_brackets);
    }
  }

  void lex_token(std::string& open_brackets) {
    const char c = source_[at_];
    if (is_digit(c)) {
      lex_number();
    } else if (is_name_start(c)) {
      std::size_t end = at_;
      while (end < source_.size() && is_name_part(source_[end])) ++end;
      push(TokenKind::kName, source_.substr(at_, end - at_));
      advance(end - at_);
    } else if (c == '"' || c == '\'') {
      lex_string(c);
    } else {
      lex_operator(open_brackets);
    }
  }

  void lex_operator(std::string& open_brackets) {
    constexpr std::array<std::string_view, 26> kOperators = {
        "//", "**", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<",
        ">",  "=",  ".",  ":",  ",",  "|",  "(", ")", "[", "]", "{", "}", ";"};
    const auto* found = std::find_if(kOperators.begin(), kOperators.end(),
                                     [this](std::string_view op) { return starts_with(op); });
    if (found == kOperators.end()) fail_at(line_, "unexpected character '", source_[at_], "'");
    const char c = found->front();
    if (c == '(' || c == '[' || c == '{')
      open_brackets.push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (open_brackets.empty() || open_brackets.back() != c)
        fail_at(line_, "unexpected '", c, "'");
      open_brackets.pop_back();
    }
    push(TokenKind::kOperator, std::string(*found));
    advance(found->size());
  }

  // Digits, with _ between them; a fraction and an exponent make it a float.
  void lex_number() {
    std::string text;
    std::size_t end = at_;
    const auto take_digits = [&] {
      while (end < source_.size() &&
             (is_digit(source_[end]) ||
              (source_[end] == '_' && end + 1 < source_.size() && is_digit(source_[end + 1])))) {
        if (source_[end] != '_') text.push_back(source_[end]);
        ++end;
      }
    };
    const auto digit_at = [&](std::size_t i) { return i < source_.size() && is_digit(source_[i]); };
    take_digits();
    TokenKind kind = TokenKind::kInteger;
    if (end < source_.size() && source_[end] == '.' && digit_at(end + 1)) {
      kind = TokenKind::kFloat;
      text.push_back(source_[end++]);
      take_digits();
    }
    if (end < source_.size() && (source_[end] == 'e' || source_[end] == 'E')) {
      const bool is_signed =
          end + 1 < source_.size() && (source_[end + 1] == '+' || source_[end + 1] == '-');
      if (digit_at(end + (is_signed ? 2 : 1))) {
        kind = TokenKind::kFloat;
        text.push_back(source_[end++]);
        if (is_signed) text.push_back(source_[end++]);
        take_digits();
      }
    }
    push(kind, std::move(text));
    advance(end - at_);
  }

  void lex_string(char quote) {
    const int begin_line = line_;
    std::string text;
    std::size_t i = at_ + 1;
    while (i < source_.size() && source_[i] != quote) {
      if (source_[i] == '\\' && i + 1 < source_.size()) {
        i = lex_escape(i + 1, text);
      } else {
        text.push_back(source_[i++]);
      }
    }
    if (i >= source_.size()) fail_at(begin_line, "a string is not closed");
    push(TokenKind::kString, std::move(text));
    advance(i + 1 - at_);
  }

  // The escape whose character behind the backslash is at `i`; returns the offset behind it.
  std::size_t lex_escape(std::size_t i, std::string& text) const {
    constexpr std::string_view kNames = "\\'\"abfnrtv";
    constexpr std::string_view kValues = "\\'\"\a\b\f\n\r\t\v";
    const char c = source_[i];
    const std::size_t simple = kNames.find(c);
    if (simple != std::string_view::npos) {
      text.push_back(kValues[simple]);
      return i + 1;
    }
    if (c == '\n') return i + 1;
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (digits > 0) return lex_code_point(i + 1, digits, /*base=*/16, text);
    if (c >= '0' && c <= '7') {
      std::size_t count = 1;
      while (count < 3 && i + count < source_.size() && source_[i + count] >= '0' &&
             source_[i + count] <= '7') {
        ++count;
      }
      return lex_code_point(i, count, /*base=*/8, text);
    }
    if (c == 'N') fail_at(line_, "\\N{...} in a string is not supported");
    text.push_back('\\');  // Not an escape: both characters stay.
    return i;
  }

  std::size_t lex_code_point(std::size_t i,
                             std::size_t count,
                             std::uint32_t base,
                             std::string& text) const {
    std::uint32_t value = 0;
    for (std::size_t k = i; k < i + count; ++k) {
      const char c = k < source_.size() ? source_[k] : '\0';
      const bool is_letter = (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
      if (!is_digit(c) && !is_letter)
        fail_at(line_, "an escape in a string needs ", count, " digits");
      const auto digit = static_cast<std::uint32_t>(is_digit(c) ? c - '0' : (c | 0x20) - 'a' + 10);
      value = value * base + digit;
    }
    const bool is_scalar = value <= 0x10FFFF && (value < 0xD800 || value > 0xDFFF);
    if (!is_scalar) fail_at(line_, "an escape in a string names no character");
    append_utf8(text, value);
    return i + count;
  }

  std::string source_;
  std::size_t at_ = 0;
  int line_ = 1;
  std::vector<Token> tokens_;
};

}  // namespace

std::vector<Token> tokenize(std::string_view source) {
  return Lexer(normalize_newlines(source)).run();
}

}  // namespace tessera::jinja

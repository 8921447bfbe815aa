#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace tessera::jinja {

enum class TokenKind : std::uint8_t {
  kText,           ///< Template text outside all tags.
  kVariableBegin,  ///< {{
  kVariableEnd,
  kBlockBegin,  ///< {%
  kBlockEnd,
  kName,
  kString,  ///< Its content, escapes resolved.
  kInteger,
  kFloat,
  kOperator,  ///< One of + - * / // % ** ~ == != < <= > >= = . : , | ( ) [ ] { }
  kEnd,       ///< Of the template.
};

struct Token {
  TokenKind kind;
  std::string text;
  int line;  ///< From 1.
};

/// Cuts a template into tokens; the last one is kEnd. Comments and {% raw %} are resolved, white
/// space around tags is removed as Jinja2 does with trim_blocks and lstrip_blocks: a block tag
/// takes the newline behind it and the blanks before it on its line, `-` takes all white space on
/// its side, `+` keeps it.
///
/// @param source  Well-formed UTF-8.
/// @throws Error{kInvalidArgument} with the line.
std::vector<Token> tokenize(std::string_view source);

}  // namespace tessera::jinja

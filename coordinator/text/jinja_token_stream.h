#pragma once

#include <algorithm>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "coordinator/text/jinja_lexer.h"
#include "coordinator/text/jinja_runtime.h"

namespace tessera::jinja {

/// The tokens of a template with a place among them.
class TokenStream {
 public:
  explicit TokenStream(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  const Token& peek(std::size_t ahead = 0) const {
    return tokens_[std::min(at_ + ahead, tokens_.size() - 1)];
  }

  Token next() {
    Token token = peek();
    if (at_ + 1 < tokens_.size()) ++at_;
    return token;
  }

  bool at(TokenKind kind) const { return peek().kind == kind; }
  bool at_operator(std::string_view op) const {
    return at(TokenKind::kOperator) && peek().text == op;
  }
  bool at_name(std::string_view name) const { return at(TokenKind::kName) && peek().text == name; }

  bool take_operator(std::string_view op) { return take_if(at_operator(op)); }
  bool take_name(std::string_view name) { return take_if(at_name(name)); }

  void expect_operator(std::string_view op) {
    if (!take_operator(op)) fail("expected '", op, "', found ", describe());
  }
  void expect_name(std::string_view name) {
    if (!take_name(name)) fail("expected '", name, "', found ", describe());
  }
  Token expect(TokenKind kind, std::string_view what) {
    if (!at(kind)) fail("expected ", what, ", found ", describe());
    return next();
  }

  template <typename... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(peek().line, parts...);
  }

  std::string describe() const {
    const Token& token = peek();
    switch (token.kind) {
      case TokenKind::kBlockEnd:
      case TokenKind::kVariableEnd: return "the end of the tag";
      case TokenKind::kEnd: return "the end of the template";
      case TokenKind::kString: return "a string";
      default: return "'" + token.text + "'";
    }
  }

 private:
  bool take_if(bool holds) {
    if (holds) next();
    return holds;
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
};

}  // namespace tessera::jinja

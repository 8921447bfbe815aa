#pragma once

#include "coordinator/text/jinja_ast.h"
#include "coordinator/text/jinja_token_stream.h"

namespace tessera::jinja {

/// Parses the expressions of a template off a token stream, with the precedences of Jinja2 (which
/// differ from Python's: `~` binds tighter than `+`, filters and tests tighter than all operators).
class ExpressionParser {
 public:
  explicit ExpressionParser(TokenStream& tokens) : tokens_(tokens) {}

  /// An expression, or several with commas between: a tuple.
  /// `with_condition` false stops before an `if`, which then belongs to the statement.
  ExpressionPtr parse_tuple(bool with_condition = true);
  ExpressionPtr parse(bool with_condition = true);

  /// `| filter | filter ...` without a value; null if there is none.
  ExpressionPtr parse_filter_chain(bool leading_pipe);

 private:
  using Node = std::unique_ptr<Expression>;

  Node make(ExpressionKind kind, std::string name = {});
  static void adopt(Expression& node, std::vector<ExpressionPtr>& list, ExpressionPtr child);
  void finish(const Expression& node) const;
  ExpressionPtr binary(std::string name, ExpressionPtr left, ExpressionPtr right);

  ExpressionPtr parse_condition();
  ExpressionPtr parse_or();
  ExpressionPtr parse_and();
  ExpressionPtr parse_not();
  ExpressionPtr parse_comparison();
  ExpressionPtr parse_sum();
  ExpressionPtr parse_concatenation();
  ExpressionPtr parse_product();
  ExpressionPtr parse_power();
  ExpressionPtr parse_unary(bool with_filters);
  ExpressionPtr parse_primary();
  ExpressionPtr parse_number();
  ExpressionPtr parse_parenthesis();
  ExpressionPtr parse_list();
  ExpressionPtr parse_dict();
  ExpressionPtr parse_postfix(ExpressionPtr node);
  ExpressionPtr parse_filters_and_tests(ExpressionPtr node);
  ExpressionPtr parse_attribute(ExpressionPtr object);
  ExpressionPtr parse_subscript(ExpressionPtr object);
  ExpressionPtr parse_call(ExpressionPtr callee);
  ExpressionPtr parse_filter(ExpressionPtr input);
  ExpressionPtr parse_test(ExpressionPtr input);
  void parse_arguments(Expression& node);

  TokenStream& tokens_;
  int nesting_ = 0;
};

}  // namespace tessera::jinja

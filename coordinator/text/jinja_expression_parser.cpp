#include "coordinator/text/jinja_expression_parser.h"

#include <algorithm>
#include <charconv>
#include <initializer_list>

namespace tessera::jinja {
namespace {

// Counts how deep the parser is inside itself.
class Nesting {
 public:
  Nesting(int& depth, const TokenStream& tokens) : depth_(depth) {
    if (++depth_ > kMaxSyntaxDepth) {
      tokens.fail("expressions nest deeper than ", kMaxSyntaxDepth);
    }
  }
  ~Nesting() { --depth_; }
  Nesting(const Nesting&) = delete;
  Nesting& operator=(const Nesting&) = delete;

 private:
  int& depth_;
};

bool at_one_of(const TokenStream& tokens, std::initializer_list<std::string_view> operators) {
  return std::any_of(operators.begin(), operators.end(),
                     [&](std::string_view op) { return tokens.at_operator(op); });
}

}  // namespace

ExpressionParser::Node ExpressionParser::make(ExpressionKind kind, std::string name) {
  auto node = std::make_unique<Expression>();
  node->kind = kind;
  node->line = tokens_.peek().line;
  node->name = std::move(name);
  return node;
}

void ExpressionParser::adopt(Expression& node,
                             std::vector<ExpressionPtr>& list,
                             ExpressionPtr child) {
  if (child != nullptr) node.depth = std::max(node.depth, child->depth + 1);
  list.push_back(std::move(child));
}

// A chain like a + b + c nests to the left without nesting in the source.
void ExpressionParser::finish(const Expression& node) const {
  if (node.depth > kMaxSyntaxDepth)
    fail_at(node.line, "an expression has more than ", kMaxSyntaxDepth, " levels");
}

ExpressionPtr ExpressionParser::binary(std::string name, ExpressionPtr left, ExpressionPtr right) {
  Node node = make(ExpressionKind::kBinary, std::move(name));
  node->line = left->line;
  adopt(*node, node->operands, std::move(left));
  adopt(*node, node->operands, std::move(right));
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse(bool with_condition) {
  const Nesting nesting(nesting_, tokens_);
  return with_condition ? parse_condition() : parse_or();
}

ExpressionPtr ExpressionParser::parse_tuple(bool with_condition) {
  ExpressionPtr first = parse(with_condition);
  if (!tokens_.at_operator(",")) return first;
  Node tuple = make(ExpressionKind::kTuple);
  adopt(*tuple, tuple->operands, std::move(first));
  while (tokens_.take_operator(",")) {
    const bool ends = tokens_.at(TokenKind::kBlockEnd) || tokens_.at(TokenKind::kVariableEnd) ||
                      tokens_.at_operator(")") || tokens_.at_name("in");
    if (ends) break;
    adopt(*tuple, tuple->operands, parse(with_condition));
  }
  finish(*tuple);
  return tuple;
}

ExpressionPtr ExpressionParser::parse_condition() {
  ExpressionPtr value = parse_or();
  while (tokens_.take_name("if")) {
    Node node = make(ExpressionKind::kConditional);
    adopt(*node, node->operands, parse_or());
    adopt(*node, node->operands, std::move(value));
    adopt(*node, node->operands, tokens_.take_name("else") ? parse() : nullptr);
    finish(*node);
    value = std::move(node);
  }
  return value;
}

ExpressionPtr ExpressionParser::parse_or() {
  ExpressionPtr left = parse_and();
  while (tokens_.take_name("or")) left = binary("or", std::move(left), parse_and());
  return left;
}

ExpressionPtr ExpressionParser::parse_and() {
  ExpressionPtr left = parse_not();
  while (tokens_.take_name("and")) left = binary("and", std::move(left), parse_not());
  return left;
}

ExpressionPtr ExpressionParser::parse_not() {
  if (!tokens_.at_name("not") ||
      (tokens_.peek(1).kind == TokenKind::kName && tokens_.peek(1).text == "in")) {
    return parse_comparison();
  }
  const Nesting nesting(nesting_, tokens_);
  tokens_.next();
  Node node = make(ExpressionKind::kUnary, "not");
  adopt(*node, node->operands, parse_not());
  return node;
}

ExpressionPtr ExpressionParser::parse_comparison() {
  Node node = make(ExpressionKind::kComparison);
  ExpressionPtr first = parse_sum();
  adopt(*node, node->operands, std::move(first));
  while (true) {
    std::string op;
    if (at_one_of(tokens_, {"==", "!=", "<", "<=", ">", ">="})) {
      op = tokens_.next().text;
    } else if (tokens_.take_name("in")) {
      op = "in";
    } else if (tokens_.at_name("not") && tokens_.peek(1).kind == TokenKind::kName &&
               tokens_.peek(1).text == "in") {
      tokens_.next();
      tokens_.next();
      op = "not in";
    } else {
      break;
    }
    node->comparisons.push_back(std::move(op));
    adopt(*node, node->operands, parse_sum());
  }
  if (node->comparisons.empty()) return std::move(node->operands[0]);
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse_sum() {
  ExpressionPtr left = parse_concatenation();
  while (at_one_of(tokens_, {"+", "-"})) {
    const std::string op = tokens_.next().text;
    left = binary(op, std::move(left), parse_concatenation());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_concatenation() {
  ExpressionPtr left = parse_product();
  while (tokens_.take_operator("~")) left = binary("~", std::move(left), parse_product());
  return left;
}

ExpressionPtr ExpressionParser::parse_product() {
  ExpressionPtr left = parse_power();
  while (at_one_of(tokens_, {"*", "/", "//", "%"})) {
    const std::string op = tokens_.next().text;
    left = binary(op, std::move(left), parse_power());
  }
  return left;
}

ExpressionPtr ExpressionParser::parse_power() {
  ExpressionPtr left = parse_unary(/*with_filters=*/true);
  while (tokens_.take_operator("**")) left = binary("**", std::move(left), parse_unary(true));
  return left;
}

ExpressionPtr ExpressionParser::parse_unary(bool with_filters) {
  ExpressionPtr value;
  if (at_one_of(tokens_, {"-", "+"})) {
    const Nesting nesting(nesting_, tokens_);
    Node node = make(ExpressionKind::kUnary, tokens_.peek().text);
    tokens_.next();
    adopt(*node, node->operands, parse_unary(/*with_filters=*/false));
    value = std::move(node);
  } else {
    value = parse_primary();
  }
  value = parse_postfix(std::move(value));
  return with_filters ? parse_filters_and_tests(std::move(value)) : std::move(value);
}

ExpressionPtr ExpressionParser::parse_primary() {
  const Token& token = tokens_.peek();
  if (token.kind == TokenKind::kInteger || token.kind == TokenKind::kFloat) return parse_number();
  if (tokens_.at_operator("(")) return parse_parenthesis();
  if (tokens_.at_operator("[")) return parse_list();
  if (tokens_.at_operator("{")) return parse_dict();
  Node node = make(ExpressionKind::kLiteral);
  if (token.kind == TokenKind::kString) {
    std::string text;
    while (tokens_.at(TokenKind::kString)) text += tokens_.next().text;
    node->literal = Value::string(std::move(text));
    return node;
  }
  if (token.kind != TokenKind::kName)
    tokens_.fail("expected an expression, found ", tokens_.describe());
  const std::string name = tokens_.next().text;
  if (name == "true" || name == "True" || name == "false" || name == "False") {
    node->literal = Value::boolean(name == "true" || name == "True");
  } else if (name != "none" && name != "None") {
    node->kind = ExpressionKind::kName;
    node->name = name;
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_number() {
  Node node = make(ExpressionKind::kLiteral);
  const Token token = tokens_.next();
  const char* begin = token.text.data();
  const char* end = begin + token.text.size();
  if (token.kind == TokenKind::kInteger) {
    std::int64_t value = 0;
    if (std::from_chars(begin, end, value).ec != std::errc()) {
      fail_at(token.line, "the integer ", token.text, " is too large");
    }
    node->literal = Value::integer(value);
  } else {
    double value = 0.0;
    if (std::from_chars(begin, end, value).ec != std::errc()) {
      fail_at(token.line, "the number ", token.text, " is out of range");
    }
    node->literal = Value::number(value);
  }
  return node;
}

ExpressionPtr ExpressionParser::parse_parenthesis() {
  Node empty = make(ExpressionKind::kTuple);
  tokens_.expect_operator("(");
  if (tokens_.take_operator(")")) return empty;
  ExpressionPtr inner = parse_tuple();
  tokens_.expect_operator(")");
  return inner;
}

ExpressionPtr ExpressionParser::parse_list() {
  Node node = make(ExpressionKind::kList);
  tokens_.expect_operator("[");
  while (!tokens_.at_operator("]")) {
    adopt(*node, node->operands, parse());
    if (!tokens_.take_operator(",")) break;
  }
  tokens_.expect_operator("]");
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse_dict() {
  Node node = make(ExpressionKind::kDict);
  tokens_.expect_operator("{");
  while (!tokens_.at_operator("}")) {
    adopt(*node, node->operands, parse());
    tokens_.expect_operator(":");
    adopt(*node, node->operands, parse());
    if (!tokens_.take_operator(",")) break;
  }
  tokens_.expect_operator("}");
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse_postfix(ExpressionPtr node) {
  while (true) {
    if (tokens_.at_operator(".")) {
      node = parse_attribute(std::move(node));
    } else if (tokens_.at_operator("[")) {
      node = parse_subscript(std::move(node));
    } else if (tokens_.at_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::parse_filters_and_tests(ExpressionPtr node) {
  while (true) {
    if (tokens_.at_operator("|")) {
      node = parse_filter(std::move(node));
    } else if (tokens_.at_name("is")) {
      node = parse_test(std::move(node));
    } else if (tokens_.at_operator("(")) {
      node = parse_call(std::move(node));
    } else {
      return node;
    }
  }
}

ExpressionPtr ExpressionParser::parse_attribute(ExpressionPtr object) {
  tokens_.expect_operator(".");
  Node node = make(ExpressionKind::kAttribute);
  adopt(*node, node->operands, std::move(object));
  if (tokens_.at(TokenKind::kInteger)) {
    node->kind = ExpressionKind::kSubscript;
    adopt(*node, node->operands, parse_number());
  } else {
    node->name = tokens_.expect(TokenKind::kName, "an attribute name").text;
  }
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse_subscript(ExpressionPtr object) {
  Node node = make(ExpressionKind::kSubscript);
  adopt(*node, node->operands, std::move(object));
  tokens_.expect_operator("[");
  const auto at_end = [&] { return tokens_.at_operator(":") || tokens_.at_operator("]"); };
  adopt(*node, node->operands, at_end() ? nullptr : parse_tuple());
  for (int part = 0; part < 2 && tokens_.take_operator(":"); ++part) {
    node->kind = ExpressionKind::kSlice;
    adopt(*node, node->operands, at_end() ? nullptr : parse());
  }
  tokens_.expect_operator("]");
  if (node->kind == ExpressionKind::kSlice) node->operands.resize(4);
  if (node->kind == ExpressionKind::kSubscript && node->operands[1] == nullptr) {
    fail_at(node->line, "a subscript is missing");
  }
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse_call(ExpressionPtr callee) {
  Node node = make(ExpressionKind::kCall);
  adopt(*node, node->operands, std::move(callee));
  parse_arguments(*node);
  finish(*node);
  return node;
}

void ExpressionParser::parse_arguments(Expression& node) {
  tokens_.expect_operator("(");
  while (!tokens_.at_operator(")")) {
    if (at_one_of(tokens_, {"*", "**"})) tokens_.fail("* and ** in calls are not supported");
    const bool keyword = tokens_.at(TokenKind::kName) &&
                         tokens_.peek(1).kind == TokenKind::kOperator &&
                         tokens_.peek(1).text == "=";
    if (keyword) {
      std::string name = tokens_.next().text;
      tokens_.next();
      ExpressionPtr value = parse();
      node.depth = std::max(node.depth, value->depth + 1);
      node.keyword_arguments.emplace_back(std::move(name), std::move(value));
    } else {
      if (!node.keyword_arguments.empty())
        tokens_.fail("a positional argument follows a named one");
      adopt(node, node.arguments, parse());
    }
    if (!tokens_.take_operator(",")) break;
  }
  tokens_.expect_operator(")");
}

ExpressionPtr ExpressionParser::parse_filter(ExpressionPtr input) {
  tokens_.expect_operator("|");
  Node node = make(ExpressionKind::kFilter);
  adopt(*node, node->operands, std::move(input));
  node->name = tokens_.expect(TokenKind::kName, "a filter name").text;
  if (tokens_.at_operator("(")) parse_arguments(*node);
  finish(*node);
  return node;
}

ExpressionPtr ExpressionParser::parse_filter_chain(bool leading_pipe) {
  ExpressionPtr chain;
  if (!leading_pipe) {
    Node node = make(ExpressionKind::kFilter);
    node->operands.push_back(nullptr);
    node->name = tokens_.expect(TokenKind::kName, "a filter name").text;
    if (tokens_.at_operator("(")) parse_arguments(*node);
    chain = std::move(node);
  }
  while (tokens_.at_operator("|")) chain = parse_filter(std::move(chain));
  return chain;
}

ExpressionPtr ExpressionParser::parse_test(ExpressionPtr input) {
  tokens_.expect_name("is");
  Node node = make(ExpressionKind::kTest);
  const bool negated = tokens_.take_name("not");
  adopt(*node, node->operands, std::move(input));
  node->name = tokens_.expect(TokenKind::kName, "a test name").text;
  const bool starts_value =
      tokens_.at(TokenKind::kString) || tokens_.at(TokenKind::kInteger) ||
      tokens_.at(TokenKind::kFloat) || at_one_of(tokens_, {"[", "{"}) ||
      (tokens_.at(TokenKind::kName) && !tokens_.at_name("else") && !tokens_.at_name("or") &&
       !tokens_.at_name("and") && !tokens_.at_name("if") && !tokens_.at_name("in") &&
       !tokens_.at_name("not") && !tokens_.at_name("is"));
  if (tokens_.at_operator("(")) {
    parse_arguments(*node);
  } else if (starts_value) {
    adopt(*node, node->arguments, parse_postfix(parse_primary()));
  }
  finish(*node);
  if (!negated) return node;
  Node inverse = make(ExpressionKind::kUnary, "not");
  inverse->line = node->line;
  adopt(*inverse, inverse->operands, std::move(node));
  finish(*inverse);
  return inverse;
}

}  // namespace tessera::jinja

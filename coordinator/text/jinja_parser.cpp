#include "coordinator/text/jinja_parser.h"

#include <algorithm>
#include <initializer_list>

#include "common/base/error.h"
#include "coordinator/text/jinja_expression_parser.h"
#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/jinja_token_stream.h"

namespace tessera::jinja {
namespace {

class StatementParser {
 public:
  explicit StatementParser(std::vector<Token> tokens)
      : tokens_(std::move(tokens)), expressions_(tokens_) {}

  Template run() {
    Template result{parse_body({})};
    if (!tokens_.at(TokenKind::kEnd)) tokens_.fail("unexpected ", tokens_.describe());
    return result;
  }

 private:
  // Statements up to a tag that begins with one of `ends`; that name is the next token then.
  Body parse_body(std::initializer_list<std::string_view> ends) {
    if (++nesting_ > kMaxSyntaxDepth) tokens_.fail("blocks nest deeper than ", kMaxSyntaxDepth);
    Body body;
    while (true) {
      const int line = tokens_.peek().line;
      if (tokens_.at(TokenKind::kEnd)) {
        if (ends.size() > 0)
          tokens_.fail("the template ends, '", *(ends.end() - 1), "' is missing");
        break;
      }
      if (tokens_.at(TokenKind::kText)) {
        body.push_back(make(StatementKind::kText, line));
        body.back().text = tokens_.next().text;
        continue;
      }
      if (tokens_.at(TokenKind::kVariableBegin)) {
        tokens_.next();
        body.push_back(make(StatementKind::kPrint, line));
        body.back().expression = expressions_.parse_tuple();
        tokens_.expect(TokenKind::kVariableEnd, "'}}'");
        continue;
      }
      tokens_.expect(TokenKind::kBlockBegin, "a tag");
      if (std::any_of(ends.begin(), ends.end(), [&](auto end) { return tokens_.at_name(end); }))
        break;
      body.push_back(parse_statement(line));
    }
    --nesting_;
    return body;
  }

  static Statement make(StatementKind kind, int line) {
    Statement statement;
    statement.kind = kind;
    statement.line = line;
    return statement;
  }

  void end_tag() { tokens_.expect(TokenKind::kBlockEnd, "'%}'"); }

  // {% ... %} body {% end %}
  void parse_block(Statement& statement, std::string_view end) {
    end_tag();
    statement.bodies.push_back(parse_body({end}));
    tokens_.expect_name(end);
    end_tag();
  }

  Statement parse_statement(int line) {
    const std::string name = tokens_.expect(TokenKind::kName, "a statement").text;
    if (name == "if") return parse_if(line);
    if (name == "for") return parse_for(line);
    if (name == "set") return parse_set(line);
    if (name == "macro") return parse_macro(line);
    if (name == "call") return parse_call(line);
    if (name == "with") return parse_with(line);
    if (name == "filter") {
      Statement statement = make(StatementKind::kFilterBlock, line);
      statement.expression = expressions_.parse_filter_chain(/*leading_pipe=*/false);
      parse_block(statement, "endfilter");
      return statement;
    }
    if (name == "generation") {
      Statement statement = make(StatementKind::kGroup, line);
      parse_block(statement, "endgeneration");
      return statement;
    }
    if (name == "break" || name == "continue") {
      if (loops_ == 0) fail_at(line, name, " outside a loop");
      end_tag();
      return make(name == "break" ? StatementKind::kBreak : StatementKind::kContinue, line);
    }
    fail_at(line, "the statement '", name, "' is not supported here");
  }

  Statement parse_if(int line) {
    Statement statement = make(StatementKind::kIf, line);
    while (true) {
      statement.conditions.push_back(expressions_.parse_tuple());
      end_tag();
      statement.bodies.push_back(parse_body({"elif", "else", "endif"}));
      if (!tokens_.take_name("elif")) break;
    }
    if (tokens_.take_name("else")) {
      parse_block(statement, "endif");
    } else {
      tokens_.expect_name("endif");
      end_tag();
    }
    return statement;
  }

  std::vector<std::string> parse_names() {
    std::vector<std::string> names;
    const bool bracket = tokens_.take_operator("(");
    do {
      if (!tokens_.at(TokenKind::kName) || tokens_.at_name("in")) break;
      names.push_back(tokens_.next().text);
    } while (tokens_.take_operator(","));
    if (names.empty()) tokens_.fail("expected a name, found ", tokens_.describe());
    if (bracket) tokens_.expect_operator(")");
    return names;
  }

  Statement parse_for(int line) {
    Statement statement = make(StatementKind::kFor, line);
    statement.targets = parse_names();
    tokens_.expect_name("in");
    statement.expression = expressions_.parse_tuple(/*with_condition=*/false);
    if (tokens_.take_name("if")) statement.conditions.push_back(expressions_.parse());
    statement.recursive = tokens_.take_name("recursive");
    end_tag();
    ++loops_;
    statement.bodies.push_back(parse_body({"else", "endfor"}));
    --loops_;
    if (tokens_.take_name("else")) {
      parse_block(statement, "endfor");
    } else {
      tokens_.expect_name("endfor");
      end_tag();
    }
    return statement;
  }

  Statement parse_set(int line) {
    Statement statement = make(StatementKind::kSet, line);
    statement.targets = parse_names();
    if (tokens_.take_operator(".")) {
      statement.targets[0] += "." + tokens_.expect(TokenKind::kName, "an attribute name").text;
    }
    if (tokens_.take_operator("=")) {
      statement.expression = expressions_.parse_tuple();
      end_tag();
      return statement;
    }
    statement.kind = StatementKind::kSetBlock;
    if (statement.targets.size() != 1) tokens_.fail("a block can be set to one name only");
    statement.expression = expressions_.parse_filter_chain(/*leading_pipe=*/true);
    parse_in_own_loop_scope(statement, "endset");
    return statement;
  }

  // (a, b=1, c=2)
  void parse_parameters(Statement& statement) {
    tokens_.expect_operator("(");
    while (!tokens_.at_operator(")")) {
      statement.targets.push_back(tokens_.expect(TokenKind::kName, "a parameter").text);
      if (tokens_.take_operator("=")) {
        statement.defaults.push_back(expressions_.parse());
      } else if (!statement.defaults.empty()) {
        tokens_.fail("a parameter without default follows one with");
      }
      if (!tokens_.take_operator(",")) break;
    }
    tokens_.expect_operator(")");
  }

  Statement parse_macro(int line) {
    Statement statement = make(StatementKind::kMacro, line);
    statement.text = tokens_.expect(TokenKind::kName, "a macro name").text;
    parse_parameters(statement);
    parse_in_own_loop_scope(statement, "endmacro");
    return statement;
  }

  Statement parse_call(int line) {
    Statement statement = make(StatementKind::kCallBlock, line);
    if (tokens_.at_operator("(")) parse_parameters(statement);
    statement.expression = expressions_.parse();
    if (statement.expression->kind != ExpressionKind::kCall)
      fail_at(line, "call needs a macro call");
    parse_in_own_loop_scope(statement, "endcall");
    return statement;
  }

  Statement parse_with(int line) {
    Statement statement = make(StatementKind::kWith, line);
    while (!tokens_.at(TokenKind::kBlockEnd)) {
      if (!statement.targets.empty()) tokens_.expect_operator(",");
      statement.targets.push_back(tokens_.expect(TokenKind::kName, "a name").text);
      tokens_.expect_operator("=");
      statement.defaults.push_back(expressions_.parse());
    }
    parse_block(statement, "endwith");
    return statement;
  }

  // A body that no break or continue can leave.
  void parse_in_own_loop_scope(Statement& statement, std::string_view end) {
    const int outer_loops = loops_;
    loops_ = 0;
    parse_block(statement, end);
    loops_ = outer_loops;
  }

  TokenStream tokens_;
  ExpressionParser expressions_;
  int nesting_ = 0;
  int loops_ = 0;
};

}  // namespace

Template parse(std::string_view source) {
  TESSERA_REQUIRE(source.size() <= kMaxSourceBytes, "the chat template has ", source.size(),
                  " bytes, at most ", kMaxSourceBytes, " are allowed");
  return StatementParser(tokenize(source)).run();
}

}  // namespace tessera::jinja

#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/text/jinja_value.h"

namespace tessera::jinja {

struct Expression;
using ExpressionPtr = std::unique_ptr<const Expression>;

enum class ExpressionKind : std::uint8_t {
  kLiteral,      ///< `literal`
  kName,         ///< `name`
  kList,         ///< Items in `operands`.
  kTuple,        ///< The same.
  kDict,         ///< Keys and values in turn in `operands`.
  kAttribute,    ///< operands[0].name
  kSubscript,    ///< operands[0][operands[1]]
  kSlice,        ///< operands[0][operands[1] : operands[2] : operands[3]]; absent ones are null.
  kCall,         ///< operands[0](arguments)
  kFilter,       ///< operands[0] | name(arguments); operands[0] is null in {% filter %}.
  kTest,         ///< operands[0] is name(arguments)
  kUnary,        ///< `name` is "not", "-" or "+".
  kBinary,       ///< `name` is the operator: + - * / // % ** ~ and or
  kComparison,   ///< operands[0] names[0] operands[1] names[1] operands[2] ...
  kConditional,  ///< operands[1] if operands[0] else operands[2], which may be null.
};

/// One node of an expression. Which members are used depends on the kind, as listed there.
struct Expression {
  ExpressionKind kind = ExpressionKind::kLiteral;
  int line = 0;
  int depth = 1;  ///< 1 + that of the deepest operand or argument.
  std::string name;
  Value literal;
  std::vector<ExpressionPtr> operands;
  std::vector<std::string> comparisons;  ///< Of kComparison: == != < <= > >= in "not in"
  std::vector<ExpressionPtr> arguments;
  std::vector<std::pair<std::string, ExpressionPtr>> keyword_arguments;
};

struct Statement;
using Body = std::vector<Statement>;

enum class StatementKind : std::uint8_t {
  kText,         ///< `text`
  kPrint,        ///< {{ expression }}
  kIf,           ///< Branches: `conditions[i]` -> `bodies[i]`; one more body is the else.
  kFor,          ///< for `targets` in `expression` if conditions[0]: bodies[0], else bodies[1]
  kSet,          ///< set `targets` = `expression`; target with '.' writes into a namespace
  kSetBlock,     ///< set targets[0] (| filters in `expression`): bodies[0]
  kMacro,        ///< `text`(targets = defaults): bodies[0]
  kCallBlock,    ///< call(targets = defaults) expression: bodies[0]
  kFilterBlock,  ///< filter `expression`: bodies[0]
  kWith,         ///< with targets = defaults: bodies[0]
  kGroup,        ///< bodies[0] in the same scope: {% generation %}.
  kBreak,
  kContinue,
};

/// One statement. Which members are used depends on the kind, as listed there.
struct Statement {
  StatementKind kind = StatementKind::kText;
  int line = 0;
  std::string text;
  ExpressionPtr expression;
  std::vector<std::string> targets;
  std::vector<ExpressionPtr> defaults;  ///< Of the last `defaults.size()` targets.
  std::vector<ExpressionPtr> conditions;
  std::vector<Body> bodies;
  bool recursive = false;  ///< A for that may be called as loop(...).
};

struct Template {
  Body body;
};

}  // namespace tessera::jinja

#include "coordinator/text/jinja_interpreter.h"

#include <map>
#include <memory>
#include <utility>

#include "coordinator/text/jinja_arguments.h"
#include "coordinator/text/jinja_builtins.h"
#include "coordinator/text/jinja_operators.h"
#include "coordinator/text/jinja_text.h"

namespace tessera::jinja {
namespace {

/// Names of one scope. A `for`, macro, call, with, filter or set block has one of its own, an `if`
/// has not. Functions cannot be kept in values that outlive their scope, so that a macro may point
/// to the scope it was defined in.
struct Scope {
  std::map<std::string, Value, std::less<>> names;
  const Scope* parent = nullptr;
  int loop_depth = 0;

  const Value* find(std::string_view name) const {
    for (const Scope* scope = this; scope != nullptr; scope = scope->parent) {
      const auto found = scope->names.find(name);
      if (found != scope->names.end()) return &found->second;
    }
    return nullptr;
  }
};

Scope inside(const Scope& parent) {
  return {.names = {}, .parent = &parent, .loop_depth = parent.loop_depth};
}

enum class Flow : std::uint8_t { kNext, kBreak, kContinue };

Value make_function(std::string name, std::function<Value(Arguments&&)> call) {
  return Value::of(
      std::make_shared<const Function>(Function{std::move(name), std::move(call), nullptr}));
}

class Interpreter {
 public:
  explicit Interpreter(Runtime& runtime) : runtime_(runtime) {}

  Flow run(const Body& body, Scope& scope, std::string& out) {
    for (const Statement& statement : body) {
      const Flow flow = run(statement, scope, out);
      if (flow != Flow::kNext) return flow;
    }
    return Flow::kNext;
  }

 private:
  /// Bounds nested evaluation, which follows the machine's stack.
  class Depth {
   public:
    explicit Depth(Interpreter& interpreter) : interpreter_(interpreter) {
      if (++interpreter_.depth_ > kMaxEvaluationDepth) {
        interpreter_.runtime_.fail("evaluation nests deeper than ", kMaxEvaluationDepth);
      }
    }
    ~Depth() { --interpreter_.depth_; }
    Depth(const Depth&) = delete;
    Depth& operator=(const Depth&) = delete;

   private:
    Interpreter& interpreter_;
  };

  // --- statements ---

  Flow run(const Statement& statement, Scope& scope, std::string& out) {
    const Depth depth(*this);
    runtime_.charge_step();
    runtime_.at_line(statement.line);
    switch (statement.kind) {
      case StatementKind::kText: print(statement.text, out); break;
      case StatementKind::kPrint:
        print(to_text(runtime_, eval(*statement.expression, scope)), out);
        break;
      case StatementKind::kIf: return run_if(statement, scope, out);
      case StatementKind::kFor: run_for(statement, scope, out); break;
      case StatementKind::kSet:
        assign(statement.targets, eval(*statement.expression, scope), scope);
        break;
      case StatementKind::kSetBlock:
        assign(statement.targets, captured(statement, scope), scope);
        break;
      case StatementKind::kFilterBlock:
        print(to_text(runtime_, captured(statement, scope)), out);
        break;
      case StatementKind::kMacro:
        scope.names[statement.text] = make_macro(statement, statement.text, scope);
        break;
      case StatementKind::kCallBlock: run_call(statement, scope, out); break;
      case StatementKind::kWith: return run_with(statement, scope, out);
      case StatementKind::kGroup: return run(statement.bodies[0], scope, out);
      case StatementKind::kBreak: return Flow::kBreak;
      case StatementKind::kContinue: return Flow::kContinue;
    }
    return Flow::kNext;
  }

  void print(const std::string& text, std::string& out) {
    runtime_.charge(text.size());
    out += text;
    if (out.size() > kMaxOutputBytes) {
      runtime_.fail("the text is longer than ", kMaxOutputBytes, " bytes");
    }
  }

  Flow run_if(const Statement& statement, Scope& scope, std::string& out) {
    for (std::size_t i = 0; i < statement.conditions.size(); ++i) {
      if (eval(*statement.conditions[i], scope).is_true()) {
        return run(statement.bodies[i], scope, out);
      }
    }
    const bool has_else = statement.bodies.size() > statement.conditions.size();
    return has_else ? run(statement.bodies.back(), scope, out) : Flow::kNext;
  }

  void assign(const std::vector<std::string>& targets, const Value& value, Scope& scope) {
    if (targets.size() == 1) {
      assign_one(targets[0], value, scope);
      return;
    }
    const std::vector<Value> parts = items_of(runtime_, value);
    if (parts.size() != targets.size()) {
      runtime_.fail("expected ", targets.size(), " values to unpack, got ", parts.size());
    }
    for (std::size_t i = 0; i < parts.size(); ++i) assign_one(targets[i], parts[i], scope);
  }

  void assign_one(const std::string& target, const Value& value, Scope& scope) {
    const auto dot = target.find('.');
    if (dot == std::string::npos) {
      scope.names[target] = value;
      return;
    }
    const std::string name = target.substr(0, dot);
    const Value* space = scope.find(name);
    if (space == nullptr || space->if_namespace() == nullptr) {
      runtime_.fail("'", name, "' is not a namespace: its attributes cannot be set");
    }
    if (value.if_function() != nullptr || value.if_namespace() != nullptr) {
      runtime_.fail("a ", value.type_name(), " cannot be kept in a namespace");
    }
    auto& entries = space->if_namespace()->entries;
    const std::string attribute = target.substr(dot + 1);
    for (auto& [key, kept] : entries) {
      if (key == attribute) {
        kept = value;
        return;
      }
    }
    entries.emplace_back(attribute, value);
  }

  // What the body of a block prints, through its filters.
  Value captured(const Statement& statement, const Scope& scope) {
    Scope inner = inside(scope);
    std::string text;
    run(statement.bodies[0], inner, text);
    const Value value = Value::string(std::move(text));
    return statement.expression == nullptr ? value : eval(*statement.expression, inner, &value);
  }

  Flow run_with(const Statement& statement, const Scope& scope, std::string& out) {
    Scope inner = inside(scope);
    for (std::size_t i = 0; i < statement.targets.size(); ++i) {
      inner.names[statement.targets[i]] = eval(*statement.defaults[i], scope);
    }
    return run(statement.bodies[0], inner, out);
  }

  // --- loops ---

  void run_for(const Statement& statement, const Scope& scope, std::string& out) {
    loop_over(statement, eval(*statement.expression, scope), scope, scope.loop_depth, out);
  }

  std::vector<Value> loop_items(const Statement& statement, const Value& over, const Scope& scope) {
    std::vector<Value> items = items_of(runtime_, over);
    if (statement.conditions.empty()) return items;
    std::vector<Value> kept;
    for (Value& item : items) {
      Scope inner = inside(scope);
      assign(statement.targets, item, inner);
      if (eval(*statement.conditions[0], inner).is_true()) kept.push_back(std::move(item));
    }
    return kept;
  }

  void loop_over(const Statement& statement,
                 const Value& over,
                 const Scope& scope,
                 int loop_depth,
                 std::string& out) {
    const Depth depth(*this);
    const std::vector<Value> items = loop_items(statement, over, scope);
    std::vector<Value> seen_by_changed;
    for (std::size_t i = 0; i < items.size(); ++i) {
      runtime_.charge_step();
      Scope inner = inside(scope);
      inner.loop_depth = loop_depth + 1;
      assign(statement.targets, items[i], inner);
      inner.names["loop"] =
          make_loop(statement, items, i, scope, inner.loop_depth, seen_by_changed);
      if (run(statement.bodies[0], inner, out) == Flow::kBreak) break;
    }
    if (items.empty() && statement.bodies.size() > 1) {
      Scope inner = inside(scope);
      run(statement.bodies[1], inner, out);
    }
  }

  // The function and attributes of `loop`; everything it refers to outlives the iteration.
  Value make_loop(const Statement& statement,
                  const std::vector<Value>& items,
                  std::size_t index,
                  const Scope& scope,
                  int loop_depth,
                  std::vector<Value>& seen) {
    Function loop;
    loop.name = "loop";
    loop.call = [this, &statement, &scope, loop_depth](Arguments&& arguments) {
      if (!statement.recursive) runtime_.fail("loop(...) needs a recursive for");
      const ArgumentReader reader(runtime_, arguments, "loop", 1);
      std::string text;
      loop_over(statement, reader.get(0, "iterable"), scope, loop_depth, text);
      return Value::string(std::move(text));
    };
    loop.attribute = [this, &items, index, loop_depth, &seen](std::string_view name) {
      return loop_attribute(name, items, index, loop_depth, seen);
    };
    return Value::of(std::make_shared<const Function>(std::move(loop)));
  }

  Value loop_attribute(std::string_view name,
                       const std::vector<Value>& items,
                       std::size_t index,
                       int loop_depth,
                       std::vector<Value>& seen) {
    const auto at = static_cast<std::int64_t>(index);
    const auto length = static_cast<std::int64_t>(items.size());
    if (name == "index") return Value::integer(at + 1);
    if (name == "index0") return Value::integer(at);
    if (name == "revindex") return Value::integer(length - at);
    if (name == "revindex0") return Value::integer(length - at - 1);
    if (name == "first") return Value::boolean(at == 0);
    if (name == "last") return Value::boolean(at + 1 == length);
    if (name == "length") return Value::integer(length);
    if (name == "depth") return Value::integer(loop_depth);
    if (name == "depth0") return Value::integer(loop_depth - 1);
    if (name == "previtem") {
      return at > 0 ? items[index - 1] : Value::undefined("there is no previous item");
    }
    if (name == "nextitem") {
      return at + 1 < length ? items[index + 1] : Value::undefined("there is no next item");
    }
    if (name == "cycle") {
      return make_function("cycle", [this, index](Arguments&& arguments) {
        if (arguments.positional.empty()) runtime_.fail("loop.cycle needs an argument");
        return arguments.positional[index % arguments.positional.size()];
      });
    }
    if (name == "changed") {
      return make_function("changed", [&seen](Arguments&& arguments) {
        bool changed = seen.size() != arguments.positional.size();
        for (std::size_t i = 0; !changed && i < seen.size(); ++i) {
          changed = !seen[i].equals(arguments.positional[i]);
        }
        seen = std::move(arguments.positional);
        return Value::boolean(changed);
      });
    }
    return Value::undefined("'loop' has no attribute '" + std::string(name) + "'");
  }

  // --- macros ---

  Value make_macro(const Statement& statement, std::string name, const Scope& scope) {
    return make_function(name, [this, &statement, name, defining = &scope](Arguments&& arguments) {
      const Depth depth(*this);
      Scope inner = inside(*defining);
      inner.loop_depth = 0;
      bind(statement, name, arguments, inner);
      std::string text;
      run(statement.bodies[0], inner, text);
      return Value::string(std::move(text));
    });
  }

  void bind(const Statement& statement,
            const std::string& name,
            Arguments& arguments,
            Scope& inner) {
    const ArgumentReader reader(runtime_, arguments, name, statement.targets.size());
    const std::size_t first_default = statement.targets.size() - statement.defaults.size();
    for (std::size_t i = 0; i < statement.targets.size(); ++i) {
      const std::string& target = statement.targets[i];
      if (const Value* given = reader.find(i, target)) {
        inner.names[target] = *given;
      } else if (i >= first_default) {
        inner.names[target] = eval(*statement.defaults[i - first_default], inner);
      } else {
        inner.names[target] = Value::undefined("parameter '" + target + "' was not provided");
      }
    }
    for (const auto& [keyword, value] : arguments.keyword) {
      if (keyword == "caller") {
        inner.names["caller"] = value;
      } else if (inner.names.find(keyword) == inner.names.end()) {
        runtime_.fail("macro '", name, "' takes no keyword argument '", keyword, "'");
      }
    }
  }

  void run_call(const Statement& statement, const Scope& scope, std::string& out) {
    const Expression& call = *statement.expression;
    Arguments arguments = arguments_of(call, scope);
    arguments.keyword.emplace_back("caller", make_macro(statement, "caller", scope));
    print(to_text(runtime_, invoke(eval(*call.operands[0], scope), std::move(arguments))), out);
  }

  // --- expressions ---

  Arguments arguments_of(const Expression& node, const Scope& scope) {
    Arguments arguments;
    for (const ExpressionPtr& argument : node.arguments) {
      arguments.positional.push_back(eval(*argument, scope));
    }
    for (const auto& [name, argument] : node.keyword_arguments) {
      arguments.keyword.emplace_back(name, eval(*argument, scope));
    }
    return arguments;
  }

  Value invoke(const Value& callee, Arguments&& arguments) {
    if (const Undefined* undefined = callee.if_undefined()) runtime_.fail(undefined->what);
    const Function* function = callee.if_function();
    if (function == nullptr) runtime_.fail("a ", callee.type_name(), " cannot be called");
    const int line = runtime_.line();
    Value result = function->call(std::move(arguments));
    runtime_.at_line(line);
    return result;
  }

  /// @param piped  What a filter chain without a value of its own is applied to.
  Value eval(const Expression& node, const Scope& scope, const Value* piped = nullptr) {
    const Depth depth(*this);
    runtime_.charge_step();
    runtime_.at_line(node.line);
    const auto operand = [&](std::size_t i) { return eval(*node.operands[i], scope); };
    switch (node.kind) {
      case ExpressionKind::kLiteral: return node.literal;
      case ExpressionKind::kName: return look_up(node.name, scope);
      case ExpressionKind::kList: return list_of(node, scope, /*is_tuple=*/false);
      case ExpressionKind::kTuple: return list_of(node, scope, /*is_tuple=*/true);
      case ExpressionKind::kDict: return dict_of(node, scope);
      case ExpressionKind::kAttribute: return attribute_of(runtime_, operand(0), node.name);
      case ExpressionKind::kSubscript: return subscript_of(runtime_, operand(0), operand(1));
      case ExpressionKind::kSlice: return eval_slice(node, scope);
      case ExpressionKind::kCall: return invoke(operand(0), arguments_of(node, scope));
      case ExpressionKind::kFilter: return eval_filter(node, scope, piped);
      case ExpressionKind::kTest:
        return Value::boolean(
            apply_test(runtime_, node.name, operand(0), arguments_of(node, scope)));
      case ExpressionKind::kUnary:
        if (node.name == "not") return Value::boolean(!operand(0).is_true());
        return apply_sign(runtime_, node.name, operand(0));
      case ExpressionKind::kBinary: return eval_binary(node, scope);
      case ExpressionKind::kComparison: return eval_comparison(node, scope);
      case ExpressionKind::kConditional:
        if (operand(0).is_true()) return operand(1);
        if (node.operands.size() > 2 && node.operands[2] != nullptr) return operand(2);
        return Value::undefined("the inline if has no else");
    }
    runtime_.fail("an expression of unknown kind");
  }

  Value look_up(const std::string& name, const Scope& scope) {
    if (const Value* value = scope.find(name)) return *value;
    if (auto global = find_global(runtime_, name)) return *global;
    return Value::undefined("'" + name + "' is undefined");
  }

  Value list_of(const Expression& node, const Scope& scope, bool is_tuple) {
    std::vector<Value> items;
    for (const ExpressionPtr& item : node.operands) items.push_back(eval(*item, scope));
    return Value::list(runtime_, std::move(items), is_tuple);
  }

  Value dict_of(const Expression& node, const Scope& scope) {
    std::vector<std::pair<std::string, Value>> entries;
    for (std::size_t i = 0; i + 1 < node.operands.size(); i += 2) {
      const Value key = eval(*node.operands[i], scope);
      if (key.if_string() == nullptr) runtime_.fail("keys of a dict must be strings");
      entries.emplace_back(*key.if_string(), eval(*node.operands[i + 1], scope));
    }
    return Value::dict(runtime_, std::move(entries));
  }

  Value eval_slice(const Expression& node, const Scope& scope) {
    const auto bound = [&](std::size_t i) {
      return i < node.operands.size() && node.operands[i] != nullptr
                 ? eval(*node.operands[i], scope)
                 : Value();
    };
    return slice_of(runtime_, eval(*node.operands[0], scope), bound(1), bound(2), bound(3));
  }

  Value eval_filter(const Expression& node, const Scope& scope, const Value* piped) {
    const bool begins_chain = node.operands.empty() || node.operands[0] == nullptr;
    const Value input = begins_chain ? *piped : eval(*node.operands[0], scope, piped);
    const Arguments arguments = arguments_of(node, scope);
    runtime_.at_line(node.line);
    return apply_filter(runtime_, node.name, input, arguments);
  }

  Value eval_binary(const Expression& node, const Scope& scope) {
    Value left = eval(*node.operands[0], scope);
    if (node.name == "and") return left.is_true() ? eval(*node.operands[1], scope) : left;
    if (node.name == "or") return left.is_true() ? left : eval(*node.operands[1], scope);
    const Value right = eval(*node.operands[1], scope);
    runtime_.at_line(node.line);
    return apply_operator(runtime_, node.name, left, right);
  }

  Value eval_comparison(const Expression& node, const Scope& scope) {
    Value left = eval(*node.operands[0], scope);
    for (std::size_t i = 0; i < node.comparisons.size(); ++i) {
      Value right = eval(*node.operands[i + 1], scope);
      if (!apply_comparison(runtime_, node.comparisons[i], left, right)) {
        return Value::boolean(false);
      }
      left = std::move(right);
    }
    return Value::boolean(true);
  }

  Runtime& runtime_;
  int depth_ = 0;
};

}  // namespace

std::string render(Runtime& runtime, const Template& source, const Value& context) {
  Scope scope;
  for (const auto& [name, value] : context.if_dict()->entries) scope.names[name] = value;
  // Macros and what a template sets live in a scope of their own, which sees the context.
  Scope top = inside(scope);
  std::string out;
  Interpreter(runtime).run(source.body, top, out);
  return out;
}

}  // namespace tessera::jinja

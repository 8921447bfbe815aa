#include "coordinator/text/jinja_operators.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "coordinator/text/jinja_text.h"

namespace tessera::jinja {
namespace {

[[noreturn]] void refuse(Runtime& runtime, const std::string& op, const Value& a, const Value& b) {
  if (const Undefined* undefined = a.if_undefined()) runtime.fail(undefined->what);
  if (const Undefined* undefined = b.if_undefined()) runtime.fail(undefined->what);
  runtime.fail("'", op, "' is not supported between ", a.type_name(), " and ", b.type_name());
}

// Python's integers have no bound; ours say so when they would need one.
Value checked(Runtime& runtime, __int128 value) {
  if (value > std::numeric_limits<std::int64_t>::max() ||
      value < std::numeric_limits<std::int64_t>::min()) {
    runtime.fail("an integer is too large");
  }
  return Value::integer(static_cast<std::int64_t>(value));
}

// Rounds towards minus infinity, as Python does.
__int128 floor_divide(__int128 a, __int128 b) {
  const __int128 quotient = a / b;
  return a % b != 0 && (a < 0) != (b < 0) ? quotient - 1 : quotient;
}

Value power(Runtime& runtime, const Value& a, const Value& b) {
  const double result = std::pow(*a.as_number(), *b.as_number());
  const bool is_integer = a.as_integer() && b.as_integer() && *b.as_integer() >= 0;
  if (!is_integer) return Value::number(result);
  if (std::abs(result) > 0x1p53) runtime.fail("an integer is too large");
  return Value::integer(static_cast<std::int64_t>(result));
}

Value arithmetic(Runtime& runtime, const std::string& op, const Value& a, const Value& b) {
  const bool divides = op == "/" || op == "//" || op == "%";
  if (divides && *b.as_number() == 0.0) runtime.fail("division by zero");
  if (op == "**") return power(runtime, a, b);
  if (op == "/") return Value::number(*a.as_number() / *b.as_number());
  if (a.as_integer() && b.as_integer()) {
    const __int128 x = *a.as_integer();
    const __int128 y = *b.as_integer();
    if (op == "+") return checked(runtime, x + y);
    if (op == "-") return checked(runtime, x - y);
    if (op == "*") return checked(runtime, x * y);
    if (op == "//") return checked(runtime, floor_divide(x, y));
    return checked(runtime, x - floor_divide(x, y) * y);
  }
  const double x = *a.as_number();
  const double y = *b.as_number();
  if (op == "+") return Value::number(x + y);
  if (op == "-") return Value::number(x - y);
  if (op == "*") return Value::number(x * y);
  if (op == "//") return Value::number(std::floor(x / y));
  return Value::number(x - std::floor(x / y) * y);
}

Value repeated(Runtime& runtime, const Value& sequence, std::int64_t count) {
  const auto times = static_cast<std::size_t>(std::max<std::int64_t>(count, 0));
  if (const std::string* text = sequence.if_string()) {
    std::string result;
    for (std::size_t i = 0; i < times; ++i) {
      runtime.charge(text->size() + 1);
      result += *text;
    }
    return Value::string(std::move(result));
  }
  std::vector<Value> items;
  for (std::size_t i = 0; i < times; ++i) {
    const auto& part = sequence.if_list()->items;
    runtime.charge((part.size() + 1) * sizeof(Value));
    items.insert(items.end(), part.begin(), part.end());
  }
  return Value::list(runtime, std::move(items), sequence.if_list()->is_tuple);
}

bool is_sequence(const Value& value) {
  return value.if_string() != nullptr || value.if_list() != nullptr;
}

}  // namespace

Value apply_operator(Runtime& runtime, const std::string& op, const Value& a, const Value& b) {
  if (op == "~") return Value::string(to_text(runtime, a) + to_text(runtime, b));
  if (a.as_number() && b.as_number()) return arithmetic(runtime, op, a, b);
  if (op == "*" && is_sequence(a) && b.as_integer()) return repeated(runtime, a, *b.as_integer());
  if (op == "*" && is_sequence(b) && a.as_integer()) return repeated(runtime, b, *a.as_integer());
  if (op != "+") refuse(runtime, op, a, b);
  if (a.if_string() != nullptr && b.if_string() != nullptr) {
    runtime.charge(a.if_string()->size() + b.if_string()->size());
    return Value::string(*a.if_string() + *b.if_string());
  }
  if (a.if_list() == nullptr || b.if_list() == nullptr ||
      a.if_list()->is_tuple != b.if_list()->is_tuple) {
    refuse(runtime, op, a, b);
  }
  std::vector<Value> items = a.if_list()->items;
  items.insert(items.end(), b.if_list()->items.begin(), b.if_list()->items.end());
  return Value::list(runtime, std::move(items), a.if_list()->is_tuple);
}

Value apply_sign(Runtime& runtime, const std::string& op, const Value& a) {
  if (!a.as_number()) refuse(runtime, op, a, a);
  if (op == "+") return a;
  if (a.as_integer()) return checked(runtime, -static_cast<__int128>(*a.as_integer()));
  return Value::number(-*a.as_number());
}

bool apply_comparison(Runtime& runtime, const std::string& op, const Value& a, const Value& b) {
  if (op == "==") return a.equals(b);
  if (op == "!=") return !a.equals(b);
  if (op == "in") return contains(runtime, b, a);
  if (op == "not in") return !contains(runtime, b, a);
  if (a.is_undefined() || b.is_undefined()) refuse(runtime, op, a, b);
  if (op == "<") return is_less(runtime, a, b);
  if (op == ">") return is_less(runtime, b, a);
  return op == "<=" ? !is_less(runtime, b, a) : !is_less(runtime, a, b);
}

Value slice_of(Runtime& runtime,
               const Value& object,
               const Value& begin,
               const Value& end,
               const Value& step) {
  if (const Undefined* undefined = object.if_undefined()) runtime.fail(undefined->what);
  const std::int64_t wanted_stride = step.as_integer().value_or(1);
  if (!is_sequence(object) || wanted_stride == 0) {
    runtime.fail("cannot take this slice of a ", object.type_name());
  }
  const std::vector<Value> items = items_of(runtime, object);
  const auto size = static_cast<std::int64_t>(items.size());
  const std::int64_t stride = std::clamp(wanted_stride, -size - 1, size + 1);
  const std::int64_t low = stride > 0 ? 0 : -1;
  const std::int64_t high = stride > 0 ? size : size - 1;
  const auto place = [&](const Value& bound, std::int64_t absent) {
    if (!bound.as_integer()) return absent;
    const std::int64_t at = *bound.as_integer();
    return std::clamp(at < 0 ? at + size : at, low, high);
  };
  const std::int64_t first = place(begin, stride > 0 ? low : high);
  const std::int64_t last = place(end, stride > 0 ? high : low);
  std::vector<Value> taken;
  for (std::int64_t i = first; stride > 0 ? i < last : i > last; i += stride) {
    taken.push_back(items[static_cast<std::size_t>(i)]);
  }
  if (object.if_string() == nullptr) {
    return Value::list(runtime, std::move(taken), object.if_list()->is_tuple);
  }
  std::string text;
  for (const Value& item : taken) text += *item.if_string();
  return Value::string(std::move(text));
}

}  // namespace tessera::jinja

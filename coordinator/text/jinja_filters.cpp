#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "coordinator/text/jinja_arguments.h"
#include "coordinator/text/jinja_builtins.h"
#include "coordinator/text/jinja_text.h"
#include "coordinator/text/python_text.h"

namespace tessera::jinja {
namespace {

using Items = std::vector<Value>;

std::int64_t length_of(Runtime& runtime, const Value& value) {
  if (const List* list = value.if_list()) return static_cast<std::int64_t>(list->items.size());
  if (const Dict* dict = value.if_dict()) return static_cast<std::int64_t>(dict->entries.size());
  return static_cast<std::int64_t>(items_of(runtime, value).size());
}

// "a.b" and "0" as map(attribute=...) and selectattr read them.
Value path_of(Runtime& runtime, Value value, const std::string& path) {
  for (const std::string& part : python::split(path, ".")) {
    const bool is_index = python::is_digit(part);
    value = subscript_of(runtime, value,
                         is_index ? Value::integer(std::stoll(part)) : Value::string(part));
  }
  return value;
}

Value join(Runtime& runtime, const Value& input, const ArgumentReader& arguments) {
  const std::string separator(arguments.optional_string(0, "d").value_or(""));
  const auto attribute = arguments.optional_string(1, "attribute");
  std::string text;
  bool is_first = true;
  for (const Value& item : items_of(runtime, input)) {
    if (!std::exchange(is_first, false)) text += separator;
    text += to_text(runtime, attribute ? path_of(runtime, item, std::string(*attribute)) : item);
    runtime.charge(separator.size());
  }
  return Value::string(std::move(text));
}

Arguments without_first(const Arguments& arguments, std::size_t count) {
  Arguments rest = arguments;
  rest.positional.erase(rest.positional.begin(),
                        rest.positional.begin() +
                            static_cast<std::ptrdiff_t>(std::min(count, rest.positional.size())));
  return rest;
}

Value map(Runtime& runtime, const Value& input, const Arguments& arguments) {
  const ArgumentReader reader(runtime, arguments, "map", 8);
  Items result;
  const Value* attribute = arguments.positional.empty() ? reader.find(8, "attribute") : nullptr;
  for (const Value& item : items_of(runtime, input)) {
    runtime.charge_step();
    if (attribute == nullptr) {
      result.push_back(
          apply_filter(runtime, reader.string(0, "filter"), item, without_first(arguments, 1)));
      continue;
    }
    Value value = path_of(runtime, item, to_text(runtime, *attribute));
    const Value* fallback = reader.find(8, "default");
    result.push_back(value.is_undefined() && fallback != nullptr ? *fallback : std::move(value));
  }
  return Value::list(runtime, std::move(result));
}

// select, reject, selectattr, rejectattr: keeps the items whose (attribute's) test gives `wanted`.
Value filtered(Runtime& runtime,
               const Value& input,
               const Arguments& arguments,
               bool by_attribute,
               bool wanted) {
  const std::size_t first = by_attribute ? 1 : 0;
  const ArgumentReader reader(runtime, arguments, "select", 8);
  Items kept;
  for (const Value& item : items_of(runtime, input)) {
    runtime.charge_step();
    const Value value = by_attribute ? path_of(runtime, item, reader.string(0, "attribute")) : item;
    const bool holds = arguments.positional.size() <= first
                           ? value.is_true()
                           : apply_test(runtime, reader.string(first, "test"), value,
                                        without_first(arguments, first + 1));
    if (holds == wanted) kept.push_back(item);
  }
  return Value::list(runtime, std::move(kept));
}

Value sorted(Runtime& runtime, const Value& input, const ArgumentReader& arguments) {
  const bool reverse = arguments.flag_or(0, "reverse", false);
  const bool keeps_case = arguments.flag_or(1, "case_sensitive", false);
  const auto attribute = arguments.optional_string(2, "attribute");
  std::vector<std::pair<Value, Value>> keyed;
  for (const Value& item : items_of(runtime, input)) {
    Value key = attribute ? path_of(runtime, item, std::string(*attribute)) : item;
    if (!keeps_case && key.if_string() != nullptr) {
      key = Value::string(python::lower(*key.if_string()));
    }
    keyed.emplace_back(std::move(key), item);
  }
  std::stable_sort(keyed.begin(), keyed.end(), [&](const auto& a, const auto& b) {
    runtime.charge_step();
    return reverse ? is_less(runtime, b.first, a.first) : is_less(runtime, a.first, b.first);
  });
  Items items;
  for (auto& entry : keyed) items.push_back(std::move(entry.second));
  return Value::list(runtime, std::move(items));
}

Value dict_sorted(Runtime& runtime, const Value& input) {
  const Dict* dict = input.if_dict();
  if (dict == nullptr) runtime.fail("dictsort: expected a dict, found ", input.type_name());
  auto entries = dict->entries;
  std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) {
    return python::lower(a.first) < python::lower(b.first);
  });
  Items items;
  for (auto& [key, value] : entries) {
    items.push_back(Value::list(runtime, {Value::string(key), value}, /*is_tuple=*/true));
  }
  return Value::list(runtime, std::move(items));
}

Value unique(Runtime& runtime, const Value& input) {
  Items kept;
  for (const Value& item : items_of(runtime, input)) {
    const auto is_item = [&](const Value& other) {
      runtime.charge_step();
      return other.equals(item);
    };
    if (std::none_of(kept.begin(), kept.end(), is_item)) kept.push_back(item);
  }
  return Value::list(runtime, std::move(kept));
}

Value extreme(Runtime& runtime, const Value& input, bool largest) {
  const Items items = items_of(runtime, input);
  if (items.empty()) return Value::undefined("no aggregated item, the sequence was empty");
  const auto less = [&](const Value& a, const Value& b) { return is_less(runtime, a, b); };
  return largest ? *std::max_element(items.begin(), items.end(), less)
                 : *std::min_element(items.begin(), items.end(), less);
}

Value sum(Runtime& runtime, const Value& input) {
  std::int64_t integers = 0;
  double numbers = 0.0;
  bool is_integer = true;
  for (const Value& item : items_of(runtime, input)) {
    if (!item.as_number()) runtime.fail("sum: expected numbers, found ", item.type_name());
    is_integer = is_integer && item.as_integer().has_value();
    integers += item.as_integer().value_or(0);
    numbers += *item.as_number();
  }
  return is_integer ? Value::integer(integers) : Value::number(numbers);
}

Value indented(Runtime& runtime, const Value& input, const ArgumentReader& arguments) {
  const std::int64_t width = arguments.integer_or(0, "width", 4);
  if (width < 0 || width > 1000) runtime.fail("indent: width must be in [0, 1000]");
  const std::string margin(static_cast<std::size_t>(width), ' ');
  const bool indents_first = arguments.flag_or(1, "first", false);
  const bool indents_blank = arguments.flag_or(2, "blank", false);
  std::string text;
  bool is_first = true;
  for (const std::string& line : python::split(to_text(runtime, input), "\n")) {
    if (!is_first) text += "\n";
    const bool wants_margin = is_first ? indents_first : indents_blank || !line.empty();
    if (wants_margin) text += margin;
    text += line;
    runtime.charge(margin.size() + line.size());
    is_first = false;
  }
  return Value::string(std::move(text));
}

Value to_integer(Runtime& runtime, const Value& input, const ArgumentReader& arguments) {
  if (const auto integer = input.as_integer()) return Value::integer(*integer);
  if (const auto number = input.as_number(); number && std::abs(*number) < 9e18) {
    return Value::integer(static_cast<std::int64_t>(*number));
  }
  const std::string text(python::strip(to_text(runtime, input)));
  char* end = nullptr;
  const std::int64_t parsed = std::strtoll(text.c_str(), &end, 10);
  if (!text.empty() && *end == '\0') return Value::integer(parsed);
  return Value::integer(arguments.integer_or(0, "default", 0));
}

Value to_number(Runtime& runtime, const Value& input) {
  if (const auto number = input.as_number()) return Value::number(*number);
  const std::string text(python::strip(to_text(runtime, input)));
  char* end = nullptr;
  const double parsed = std::strtod(text.c_str(), &end);
  return Value::number(!text.empty() && *end == '\0' ? parsed : 0.0);
}

Value rounded(Runtime& runtime, const Value& input, const ArgumentReader& arguments) {
  const auto number = input.as_number();
  const std::int64_t precision = arguments.integer_or(0, "precision", 0);
  if (!number || precision < 0 || precision > 15) runtime.fail("round: needs a number");
  const double scale = std::pow(10.0, static_cast<double>(precision));
  return Value::number(std::nearbyint(*number * scale) / scale);
}

Value json(Runtime& runtime, const Value& input, const ArgumentReader& arguments) {
  JsonLayout layout;
  const std::int64_t indent = arguments.integer_or(0, "indent", -1);
  if (indent > 100) runtime.fail("tojson: indent must be at most 100");
  layout.indent = static_cast<int>(indent);
  if (indent >= 0) layout.item_separator = ",";
  const Value* separators = arguments.find(8, "separators");
  if (separators != nullptr && !separators->is_none()) {
    const Items parts = items_of(runtime, *separators);
    if (parts.size() != 2) runtime.fail("tojson: separators must be two strings");
    layout.item_separator = to_text(runtime, parts[0]);
    layout.key_separator = to_text(runtime, parts[1]);
  }
  layout.sort_keys = arguments.flag_or(8, "sort_keys", false);
  return Value::string(to_json(runtime, input, layout));
}

Value edge(Runtime& runtime, const Value& input, bool last) {
  const Items items = items_of(runtime, input);
  if (items.empty()) return Value::undefined("the sequence is empty");
  return last ? items.back() : items.front();
}

Value reversed(Runtime& runtime, const Value& input) {
  Items items = items_of(runtime, input);
  std::reverse(items.begin(), items.end());
  if (input.if_string() == nullptr) return Value::list(runtime, std::move(items));
  std::string text;
  for (const Value& item : items) text += *item.if_string();
  return Value::string(std::move(text));
}

Value defaulted(const Value& input, const ArgumentReader& arguments) {
  const bool counts_as_missing =
      input.is_undefined() || (arguments.flag_or(1, "boolean", false) && !input.is_true());
  if (!counts_as_missing) return input;
  const Value* fallback = arguments.find(0, "default_value");
  return fallback == nullptr ? Value::string("") : *fallback;
}

Value absolute(Runtime& runtime, const Value& input) {
  if (const auto integer = input.as_integer()) return Value::integer(std::abs(*integer));
  if (!input.as_number()) runtime.fail("abs: needs a number");
  return Value::number(std::abs(*input.as_number()));
}

using Filter = Value (*)(Runtime&, const Value&, const ArgumentReader&);

const std::map<std::string_view, Filter>& filters() {
  using R = Runtime&;
  using V = const Value&;
  using A = const ArgumentReader&;
  static const std::map<std::string_view, Filter> kFilters = {
      {"abs", [](R r, V v, A) { return absolute(r, v); }},
      {"capitalize", [](R r, V v, A) { return Value::string(python::capitalize(to_text(r, v))); }},
      {"count", [](R r, V v, A) { return Value::integer(length_of(r, v)); }},
      {"d", [](R, V v, A a) { return defaulted(v, a); }},
      {"default", [](R, V v, A a) { return defaulted(v, a); }},
      {"dictsort", [](R r, V v, A) { return dict_sorted(r, v); }},
      {"first", [](R r, V v, A) { return edge(r, v, false); }},
      {"float", [](R r, V v, A) { return to_number(r, v); }},
      {"indent", indented},
      {"int", to_integer},
      {"items",
       [](R r, V v, A) {
         if (v.is_undefined()) return Value::list(r, {});
         const auto method = find_method(r, v, "items");
         if (v.if_dict() == nullptr || !method) r.fail("items: expected a dict");
         return method->if_function()->call({});
       }},
      {"join", join},
      {"last", [](R r, V v, A) { return edge(r, v, true); }},
      {"length", [](R r, V v, A) { return Value::integer(length_of(r, v)); }},
      {"list", [](R r, V v, A) { return Value::list(r, items_of(r, v)); }},
      {"lower", [](R r, V v, A) { return Value::string(python::lower(to_text(r, v))); }},
      {"max", [](R r, V v, A) { return extreme(r, v, true); }},
      {"min", [](R r, V v, A) { return extreme(r, v, false); }},
      {"replace",
       [](R r, V v, A a) {
         std::string text = python::replace(to_text(r, v), a.string(0, "old"), a.string(1, "new"),
                                            a.integer_or(2, "count", -1));
         r.charge(text.size());
         return Value::string(std::move(text));
       }},
      {"reverse", [](R r, V v, A) { return reversed(r, v); }},
      {"round", rounded},
      {"safe", [](R, V v, A) { return v; }},
      {"sort", sorted},
      {"string", [](R r, V v, A) { return Value::string(to_text(r, v)); }},
      {"sum", [](R r, V v, A) { return sum(r, v); }},
      {"title", [](R r, V v, A) { return Value::string(python::title(to_text(r, v))); }},
      {"tojson", json},
      {"trim",
       [](R r, V v, A a) {
         return Value::string(std::string(
             python::strip(to_text(r, v), python::Side::kBoth, a.optional_string(0, "chars"))));
       }},
      {"unique", [](R r, V v, A) { return unique(r, v); }},
      {"upper", [](R r, V v, A) { return Value::string(python::upper(to_text(r, v))); }},
  };
  return kFilters;
}

bool is_case(const Value& value, bool (*has_case)(std::string_view)) {
  return value.if_string() != nullptr && has_case(*value.if_string());
}

bool compares(const Runtime& runtime, const std::string& name, const Value& a, const Value& b) {
  if (name == "eq" || name == "equalto" || name == "==") return a.equals(b);
  if (name == "ne" || name == "!=") return !a.equals(b);
  if (name == "lt" || name == "<") return is_less(runtime, a, b);
  if (name == "gt" || name == ">") return is_less(runtime, b, a);
  if (name == "le" || name == "<=") return !is_less(runtime, b, a);
  if (name == "ge" || name == ">=") return !is_less(runtime, a, b);
  if (name == "in") return contains(runtime, b, a);
  if (name == "sameas") return a.is_same_as(b);
  if (name == "divisibleby" && a.as_integer() && b.as_integer() && *b.as_integer() != 0) {
    return *a.as_integer() % *b.as_integer() == 0;
  }
  runtime.fail("there is no test '", name, "' for ", a.type_name(), " and ", b.type_name());
}

}  // namespace

Value apply_filter(Runtime& runtime,
                   const std::string& name,
                   const Value& input,
                   const Arguments& arguments) {
  if (name == "map") return map(runtime, input, arguments);
  if (name == "select" || name == "reject") {
    return filtered(runtime, input, arguments, /*by_attribute=*/false, name == "select");
  }
  if (name == "selectattr" || name == "rejectattr") {
    return filtered(runtime, input, arguments, /*by_attribute=*/true, name == "selectattr");
  }
  const auto filter = filters().find(name);
  if (filter == filters().end()) runtime.fail("there is no filter '", name, "'");
  return filter->second(runtime, input, ArgumentReader(runtime, arguments, name, 3));
}

bool apply_test(Runtime& runtime,
                const std::string& name,
                const Value& v,
                const Arguments& arguments) {
  if (name == "defined") return !v.is_undefined();
  if (name == "undefined") return v.is_undefined();
  if (name == "none") return v.is_none();
  if (name == "boolean") return v.if_boolean() != nullptr;
  if (name == "true") return v.if_boolean() != nullptr && *v.if_boolean();
  if (name == "false") return v.if_boolean() != nullptr && !*v.if_boolean();
  if (name == "integer") return v.if_integer() != nullptr;
  if (name == "float") return v.if_number() != nullptr;
  if (name == "number") return v.as_number().has_value();
  if (name == "string") return v.if_string() != nullptr;
  if (name == "mapping") return v.if_dict() != nullptr;
  if (name == "callable") return v.if_function() != nullptr;
  if (name == "lower") return is_case(v, &python::is_lower);
  if (name == "upper") return is_case(v, &python::is_upper);
  if (name == "sequence" || name == "iterable") {
    return v.if_string() != nullptr || v.if_list() != nullptr || v.if_dict() != nullptr ||
           v.is_undefined();
  }
  if (name == "odd" || name == "even") {
    if (!v.as_integer()) runtime.fail("the test '", name, "' needs an integer");
    return (*v.as_integer() % 2 == 0) == (name == "even");
  }
  const ArgumentReader reader(runtime, arguments, name, 1);
  if (arguments.positional.empty()) runtime.fail("there is no test '", name, "'");
  return compares(runtime, name, v, reader.get(0, "other"));
}

}  // namespace tessera::jinja

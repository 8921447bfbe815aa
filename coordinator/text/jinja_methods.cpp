#include <algorithm>
#include <functional>
#include <map>
#include <utility>

#include "coordinator/text/jinja_arguments.h"
#include "coordinator/text/jinja_builtins.h"
#include "coordinator/text/jinja_text.h"
#include "coordinator/text/python_text.h"

namespace tessera::jinja {
namespace {

using StringMethod = Value (*)(Runtime&, const std::string&, const ArgumentReader&);

Value list_of_strings(Runtime& runtime, std::vector<std::string> parts) {
  std::vector<Value> items;
  for (std::string& part : parts) items.push_back(Value::string(std::move(part)));
  return Value::list(runtime, std::move(items));
}

// startswith and endswith take one string or a tuple of them.
template <typename Matches>
Value matches_any(const Runtime& runtime, const Value& pattern, Matches matches) {
  if (const std::string* text = pattern.if_string()) return Value::boolean(matches(*text));
  const List* list = pattern.if_list();
  if (list == nullptr) runtime.fail("expected a string or a tuple of strings");
  for (const Value& item : list->items) {
    if (item.if_string() == nullptr) runtime.fail("expected a tuple of strings");
    if (matches(*item.if_string())) return Value::boolean(true);
  }
  return Value::boolean(false);
}

Value join(Runtime& runtime, const std::string& separator, const Value& list) {
  std::string text;
  bool is_first = true;
  for (const Value& item : items_of(runtime, list)) {
    if (item.if_string() == nullptr)
      runtime.fail("join: expected strings, found ", item.type_name());
    if (!std::exchange(is_first, false)) text += separator;
    text += *item.if_string();
    runtime.charge(separator.size() + item.if_string()->size());
  }
  return Value::string(std::move(text));
}

std::int64_t count_of(const std::string& text, const std::string& part) {
  if (part.empty()) return static_cast<std::int64_t>(python::characters(text).size()) + 1;
  std::int64_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) {
    ++count;
  }
  return count;
}

std::vector<std::string> split(const Runtime& runtime,
                               const std::string& text,
                               const ArgumentReader& arguments,
                               bool from_right) {
  const auto separator = arguments.optional_string(0, "sep");
  if (separator && separator->empty()) runtime.fail("split: empty separator");
  return python::split(text, separator, arguments.integer_or(1, "maxsplit", -1), from_right);
}

const std::map<std::string_view, StringMethod>& string_methods() {
  using A = const ArgumentReader&;
  using S = const std::string&;
  static const std::map<std::string_view, StringMethod> kMethods = {
      {"capitalize", [](Runtime&, S s, A) { return Value::string(python::capitalize(s)); }},
      {"count", [](Runtime&, S s, A a) { return Value::integer(count_of(s, a.string(0, "sub"))); }},
      {"endswith",
       [](Runtime& r, S s, A a) {
         return matches_any(r, a.get(0, "suffix"), [&](S part) { return s.ends_with(part); });
       }},
      {"find",
       [](Runtime&, S s, A a) {
         const auto at = s.find(a.string(0, "sub"));
         if (at == std::string::npos) return Value::integer(-1);
         return Value::integer(
             static_cast<std::int64_t>(python::characters(s.substr(0, at)).size()));
       }},
      {"isalnum", [](Runtime&, S s, A) { return Value::boolean(python::is_alnum(s)); }},
      {"isalpha", [](Runtime&, S s, A) { return Value::boolean(python::is_alpha(s)); }},
      {"isdigit", [](Runtime&, S s, A) { return Value::boolean(python::is_digit(s)); }},
      {"islower", [](Runtime&, S s, A) { return Value::boolean(python::is_lower(s)); }},
      {"isspace", [](Runtime&, S s, A) { return Value::boolean(python::is_space(s)); }},
      {"isupper", [](Runtime&, S s, A) { return Value::boolean(python::is_upper(s)); }},
      {"join", [](Runtime& r, S s, A a) { return join(r, s, a.get(0, "iterable")); }},
      {"lower", [](Runtime&, S s, A) { return Value::string(python::lower(s)); }},
      {"lstrip",
       [](Runtime&, S s, A a) {
         return Value::string(
             std::string(python::strip(s, python::Side::kLeft, a.optional_string(0, "chars"))));
       }},
      {"removeprefix",
       [](Runtime&, S s, A a) {
         const std::string& prefix = a.string(0, "prefix");
         return Value::string(s.starts_with(prefix) ? s.substr(prefix.size()) : s);
       }},
      {"removesuffix",
       [](Runtime&, S s, A a) {
         const std::string& suffix = a.string(0, "suffix");
         return Value::string(s.ends_with(suffix) ? s.substr(0, s.size() - suffix.size()) : s);
       }},
      {"replace",
       [](Runtime& r, S s, A a) {
         std::string text = python::replace(s, a.string(0, "old"), a.string(1, "new"),
                                            a.integer_or(2, "count", -1));
         r.charge(text.size());
         return Value::string(std::move(text));
       }},
      {"rsplit", [](Runtime& r, S s, A a) { return list_of_strings(r, split(r, s, a, true)); }},
      {"rstrip",
       [](Runtime&, S s, A a) {
         return Value::string(
             std::string(python::strip(s, python::Side::kRight, a.optional_string(0, "chars"))));
       }},
      {"split", [](Runtime& r, S s, A a) { return list_of_strings(r, split(r, s, a, false)); }},
      {"splitlines",
       [](Runtime& r, S s, A a) {
         return list_of_strings(r, python::split_lines(s, a.flag_or(0, "keepends", false)));
       }},
      {"startswith",
       [](Runtime& r, S s, A a) {
         return matches_any(r, a.get(0, "prefix"), [&](S part) { return s.starts_with(part); });
       }},
      {"strip",
       [](Runtime&, S s, A a) {
         return Value::string(
             std::string(python::strip(s, python::Side::kBoth, a.optional_string(0, "chars"))));
       }},
      {"title", [](Runtime&, S s, A) { return Value::string(python::title(s)); }},
      {"upper", [](Runtime&, S s, A) { return Value::string(python::upper(s)); }},
  };
  return kMethods;
}

Value function(std::string name, std::function<Value(Arguments&&)> call) {
  return Value::of(std::make_shared<const Function>(
      Function{std::move(name), std::move(call), /*attribute=*/nullptr}));
}

Value entries_of(Runtime& runtime, const Dict& dict, std::string_view which) {
  std::vector<Value> items;
  for (const auto& [key, value] : dict.entries) {
    if (which == "keys") {
      items.push_back(Value::string(key));
    } else if (which == "values") {
      items.push_back(value);
    } else {
      items.push_back(Value::list(runtime, {Value::string(key), value}, /*is_tuple=*/true));
    }
  }
  return Value::list(runtime, std::move(items));
}

std::optional<Value> find_dict_method(Runtime& runtime,
                                      const Value& object,
                                      std::string_view name) {
  if (name == "get") {
    return function("get", [&runtime, object](Arguments&& arguments) {
      const ArgumentReader reader(runtime, arguments, "get", 2);
      const Value& key = reader.get(0, "key");
      const Value* found =
          key.if_string() == nullptr ? nullptr : object.if_dict()->find(*key.if_string());
      if (found != nullptr) return *found;
      const Value* fallback = reader.find(1, "default");
      return fallback == nullptr ? Value() : *fallback;
    });
  }
  if (name != "items" && name != "keys" && name != "values") return std::nullopt;
  return function(std::string(name), [&runtime, object, which = std::string(name)](Arguments&&) {
    return entries_of(runtime, *object.if_dict(), which);
  });
}

std::optional<Value> find_list_method(Runtime& runtime,
                                      const Value& object,
                                      std::string_view name) {
  if (name != "count" && name != "index") return std::nullopt;
  return function(
      std::string(name), [&runtime, object, counts = name == "count"](Arguments&& arguments) {
        const Value item = ArgumentReader(runtime, arguments, "count", 1).get(0, "value");
        const auto& items = object.if_list()->items;
        const auto is_item = [&](const Value& value) { return value.equals(item); };
        if (counts) return Value::integer(std::count_if(items.begin(), items.end(), is_item));
        const auto found = std::find_if(items.begin(), items.end(), is_item);
        if (found == items.end()) runtime.fail("index: the value is not in the list");
        return Value::integer(found - items.begin());
      });
}

}  // namespace

std::optional<Value> find_method(Runtime& runtime, const Value& object, std::string_view name) {
  if (object.if_string() != nullptr) {
    const auto method = string_methods().find(name);
    if (method == string_methods().end()) return std::nullopt;
    return function(std::string(name), [&runtime, object, method](Arguments&& arguments) {
      runtime.charge(object.if_string()->size());
      const ArgumentReader reader(runtime, arguments, method->first, 3);
      return method->second(runtime, *object.if_string(), reader);
    });
  }
  if (object.if_dict() != nullptr) return find_dict_method(runtime, object, name);
  if (object.if_list() != nullptr) return find_list_method(runtime, object, name);
  return std::nullopt;
}

Value attribute_of(Runtime& runtime, const Value& object, const std::string& name) {
  if (const Undefined* undefined = object.if_undefined()) runtime.fail(undefined->what);
  if (const Function* called = object.if_function(); called != nullptr && called->attribute) {
    return called->attribute(name);
  }
  if (const Namespace* space = object.if_namespace()) {
    for (const auto& [key, value] : space->entries) {
      if (key == name) return value;
    }
  }
  if (auto method = find_method(runtime, object, name)) return *method;
  if (const Dict* dict = object.if_dict()) {
    if (const Value* value = dict->find(name)) return *value;
  }
  return Value::undefined("'" + std::string(object.type_name()) + " object' has no attribute '" +
                          name + "'");
}

Value subscript_of(Runtime& runtime, const Value& object, const Value& key) {
  if (const Undefined* undefined = object.if_undefined()) runtime.fail(undefined->what);
  if (const std::string* name = key.if_string()) {
    if (const Dict* dict = object.if_dict()) {
      if (const Value* value = dict->find(*name)) return *value;
    }
    return attribute_of(runtime, object, *name);
  }
  const auto index = key.as_integer();
  if (index && (object.if_list() != nullptr || object.if_string() != nullptr)) {
    const std::vector<Value> items = items_of(runtime, object);
    const auto size = static_cast<std::int64_t>(items.size());
    const std::int64_t place = *index < 0 ? *index + size : *index;
    if (place >= 0 && place < size) return items[static_cast<std::size_t>(place)];
  }
  return Value::undefined("'" + std::string(object.type_name()) + " object' has no element " +
                          to_repr(runtime, key));
}

std::optional<Value> find_global(Runtime& runtime, const std::string& name) {
  if (name == "raise_exception") {
    return function(name, [&runtime](Arguments&& arguments) -> Value {
      const ArgumentReader reader(runtime, arguments, "raise_exception", 1);
      runtime.fail(to_text(runtime, reader.get(0, "message")));
    });
  }
  if (name == "namespace" || name == "dict") {
    return function(name, [&runtime, is_dict = name == "dict"](Arguments&& arguments) {
      std::vector<std::pair<std::string, Value>> entries;
      for (const Value& value : arguments.positional) {
        const Dict* dict = value.if_dict();
        if (dict == nullptr) runtime.fail("expected a dict, found ", value.type_name());
        entries.insert(entries.end(), dict->entries.begin(), dict->entries.end());
      }
      entries.insert(entries.end(), arguments.keyword.begin(), arguments.keyword.end());
      if (is_dict) return Value::dict(runtime, std::move(entries));
      return Value::of(std::make_shared<Namespace>(Namespace{std::move(entries)}));
    });
  }
  if (name == "range") {
    return function(name, [&runtime](Arguments&& arguments) {
      const ArgumentReader reader(runtime, arguments, "range", 3);
      std::int64_t begin = 0;
      std::int64_t end = reader.integer_or(0, "stop", 0);
      if (arguments.positional.size() > 1) {
        begin = std::exchange(end, reader.integer_or(1, "stop", 0));
      }
      const std::int64_t step = reader.integer_or(2, "step", 1);
      if (step == 0) runtime.fail("range: the step must not be 0");
      std::vector<Value> items;
      for (__int128 i = begin; step > 0 ? i < end : i > end; i += step) {
        runtime.charge(sizeof(Value));
        items.push_back(Value::integer(static_cast<std::int64_t>(i)));
      }
      return Value::list(runtime, std::move(items));
    });
  }
  return std::nullopt;
}

}  // namespace tessera::jinja

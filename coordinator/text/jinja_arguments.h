#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "coordinator/text/jinja_runtime.h"
#include "coordinator/text/jinja_value.h"

namespace tessera::jinja {

/// Reads the arguments of one call by place or name; says which is wrong.
class ArgumentReader {
 public:
  /// @param max_positional  More are an error. @param what  What messages call the callee.
  ArgumentReader(const Runtime& runtime,
                 const Arguments& arguments,
                 std::string_view what,
                 std::size_t max_positional)
      : runtime_(runtime), arguments_(arguments), what_(what) {
    if (arguments.positional.size() > max_positional) {
      runtime.fail(what, " takes at most ", max_positional, " arguments, got ",
                   arguments.positional.size());
    }
  }

  const Value* find(std::size_t index, std::string_view name) const {
    if (index < arguments_.positional.size()) return &arguments_.positional[index];
    for (const auto& [keyword, value] : arguments_.keyword) {
      if (keyword == name) return &value;
    }
    return nullptr;
  }

  const Value& get(std::size_t index, std::string_view name) const {
    const Value* value = find(index, name);
    if (value == nullptr) runtime_.fail(what_, " needs the argument '", name, "'");
    return *value;
  }

  const std::string& string(std::size_t index, std::string_view name) const {
    return as_string(get(index, name), name);
  }

  std::optional<std::string_view> optional_string(std::size_t index, std::string_view name) const {
    const Value* value = find(index, name);
    if (value == nullptr || value->is_none()) return std::nullopt;
    return as_string(*value, name);
  }

  std::int64_t integer_or(std::size_t index, std::string_view name, std::int64_t fallback) const {
    const Value* value = find(index, name);
    if (value == nullptr || value->is_none()) return fallback;
    const auto integer = value->as_integer();
    if (!integer) runtime_.fail(what_, ": '", name, "' must be an integer");
    return *integer;
  }

  bool flag_or(std::size_t index, std::string_view name, bool fallback) const {
    const Value* value = find(index, name);
    return value == nullptr ? fallback : value->is_true();
  }

 private:
  const std::string& as_string(const Value& value, std::string_view name) const {
    if (value.if_string() == nullptr) {
      runtime_.fail(what_, ": '", name, "' must be a string, is ", value.type_name());
    }
    return *value.if_string();
  }

  const Runtime& runtime_;
  const Arguments& arguments_;
  std::string_view what_;
};

}  // namespace tessera::jinja

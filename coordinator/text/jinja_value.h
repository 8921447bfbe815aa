#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace tessera::jinja {

class Runtime;
class Value;

/// The value of a name that nobody defined. Prints as nothing, is false, iterates over nothing;
/// every other use is an error that names `what`.
struct Undefined {
  std::string what;
  bool operator==(const Undefined&) const = default;
};

struct None {
  bool operator==(const None&) const = default;
};

/// A Python list or tuple. Immutable once it is in a Value.
struct List {
  std::vector<Value> items;
  bool is_tuple = false;
  int depth = 1;  ///< 1 + that of the deepest container inside.
};

/// A Python dict with string keys, in insertion order. Immutable once it is in a Value.
struct Dict {
  std::vector<std::pair<std::string, Value>> entries;
  std::vector<std::uint32_t> by_key;  ///< Indices of entries in ascending order of keys.
  int depth = 1;

  const Value* find(std::string_view key) const noexcept;
};

/// What namespace(...) makes: the one value that a template can change.
struct Namespace {
  std::vector<std::pair<std::string, Value>> entries;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keyword;
};

/// A macro, a global function, a method bound to its object, `caller` or `loop`.
struct Function {
  std::string name;
  std::function<Value(Arguments&&)> call;
  std::function<Value(std::string_view)> attribute;  ///< Of `loop`; empty for all others.
};

/// A Python value as far as templates see it. Cheap to copy: contents are shared.
class Value {
 public:
  using String = std::shared_ptr<const std::string>;

  Value() : data_(None{}) {}
  static Value undefined(std::string what) { return Value(Data(Undefined{std::move(what)})); }
  static Value boolean(bool value) { return Value(Data(value)); }
  static Value integer(std::int64_t value) { return Value(Data(value)); }
  static Value number(double value) { return Value(Data(value)); }
  static Value string(std::string value) {
    return Value(Data(std::make_shared<const std::string>(std::move(value))));
  }
  /// Containers charge their size to `runtime` and are refused beyond its nesting limit; they
  /// cannot hold namespaces or functions (so no cycle can come about).
  static Value list(Runtime& runtime, std::vector<Value> items, bool is_tuple = false);
  /// Of equal keys the last one's value stays, at the place of the first.
  static Value dict(Runtime& runtime, std::vector<std::pair<std::string, Value>> entries);
  static Value from_json(Runtime& runtime, const nlohmann::ordered_json& json, int depth = 0);
  static Value of(std::shared_ptr<Namespace> value) { return Value(Data(std::move(value))); }
  static Value of(std::shared_ptr<const Function> value) { return Value(Data(std::move(value))); }

  const Undefined* if_undefined() const noexcept { return std::get_if<Undefined>(&data_); }
  bool is_undefined() const noexcept { return if_undefined() != nullptr; }
  bool is_none() const noexcept { return std::holds_alternative<None>(data_); }
  const bool* if_boolean() const noexcept { return std::get_if<bool>(&data_); }
  const std::int64_t* if_integer() const noexcept { return std::get_if<std::int64_t>(&data_); }
  const double* if_number() const noexcept { return std::get_if<double>(&data_); }
  const std::string* if_string() const noexcept { return get_shared<String>(); }
  const List* if_list() const noexcept { return get_shared<std::shared_ptr<const List>>(); }
  const Dict* if_dict() const noexcept { return get_shared<std::shared_ptr<const Dict>>(); }
  Namespace* if_namespace() const noexcept {
    const auto* pointer = std::get_if<std::shared_ptr<Namespace>>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }
  const Function* if_function() const noexcept {
    return get_shared<std::shared_ptr<const Function>>();
  }

  /// int or bool as an integer, as Python counts them.
  std::optional<std::int64_t> as_integer() const noexcept;
  /// int, bool or float as a float.
  std::optional<double> as_number() const noexcept;

  bool is_true() const noexcept;
  /// Python's name of the type: "str", "dict", ...
  std::string_view type_name() const noexcept;
  /// Python's ==.
  bool equals(const Value& other) const noexcept;
  /// Whether both are the very same object (`is`), as far as that can be asked of templates.
  bool is_same_as(const Value& other) const noexcept;

 private:
  using Data = std::variant<Undefined,
                            None,
                            bool,
                            std::int64_t,
                            double,
                            String,
                            std::shared_ptr<const List>,
                            std::shared_ptr<const Dict>,
                            std::shared_ptr<Namespace>,
                            std::shared_ptr<const Function>>;
  explicit Value(Data data) : data_(std::move(data)) {}

  template <typename Pointer>
  auto get_shared() const noexcept -> decltype(std::declval<Pointer>().get()) {
    const auto* pointer = std::get_if<Pointer>(&data_);
    return pointer == nullptr ? nullptr : pointer->get();
  }

  Data data_;
};

}  // namespace tessera::jinja

#include "coordinator/text/jinja_value.h"

#include <algorithm>
#include <limits>
#include <numeric>

#include "coordinator/text/jinja_runtime.h"

namespace tessera::jinja {
namespace {

int depth_of(const Value& value) noexcept {
  if (const List* list = value.if_list()) return list->depth;
  if (const Dict* dict = value.if_dict()) return dict->depth;
  return 0;
}

// Checks a value that goes into a container; `depth` becomes that of the container.
void include(const Runtime& runtime, const Value& value, int& depth) {
  if (value.if_namespace() != nullptr || value.if_function() != nullptr) {
    runtime.fail("a ", value.type_name(), " cannot be kept in a list, dict or namespace");
  }
  depth = std::max(depth, 1 + depth_of(value));
  if (depth > kMaxValueDepth) runtime.fail("values nest deeper than ", kMaxValueDepth);
}

using Entries = std::vector<std::pair<std::string, Value>>;

// Entries of equal keys stay in their order.
std::vector<std::uint32_t> order_by_key(const Entries& entries) {
  std::vector<std::uint32_t> order(entries.size());
  std::iota(order.begin(), order.end(), 0U);
  std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    return entries[a].first < entries[b].first;
  });
  return order;
}

// Moves the last value of each repeated key to the key's first place. True if there were any.
bool drop_repeated(Entries& entries, const std::vector<std::uint32_t>& by_key) {
  std::vector<bool> dropped(entries.size(), false);
  std::uint32_t first = 0;
  for (std::size_t i = 1; i < by_key.size(); ++i) {
    if (entries[by_key[i]].first != entries[by_key[first]].first) {
      first = static_cast<std::uint32_t>(i);
      continue;
    }
    entries[by_key[first]].second = std::move(entries[by_key[i]].second);
    dropped[by_key[i]] = true;
  }
  if (std::find(dropped.begin(), dropped.end(), true) == dropped.end()) return false;
  Entries kept;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!dropped[i]) kept.push_back(std::move(entries[i]));
  }
  entries = std::move(kept);
  return true;
}

bool lists_equal(const List& a, const List& b) noexcept {
  return a.is_tuple == b.is_tuple && a.items.size() == b.items.size() &&
         std::equal(a.items.begin(), a.items.end(), b.items.begin(),
                    [](const Value& x, const Value& y) { return x.equals(y); });
}

bool dicts_equal(const Dict& a, const Dict& b) noexcept {
  return a.entries.size() == b.entries.size() &&
         std::all_of(a.entries.begin(), a.entries.end(), [&](const auto& entry) {
           const Value* other = b.find(entry.first);
           return other != nullptr && entry.second.equals(*other);
         });
}

}  // namespace

const Value* Dict::find(std::string_view key) const noexcept {
  const auto it = std::lower_bound(
      by_key.begin(), by_key.end(), key,
      [this](std::uint32_t i, std::string_view wanted) { return entries[i].first < wanted; });
  if (it == by_key.end() || entries[*it].first != key) return nullptr;
  return &entries[*it].second;
}

Value Value::list(Runtime& runtime, std::vector<Value> items, bool is_tuple) {
  runtime.charge(sizeof(List) + items.size() * sizeof(Value));
  int depth = 1;
  for (const Value& item : items) include(runtime, item, depth);
  return Value(Data(std::make_shared<const List>(List{std::move(items), is_tuple, depth})));
}

Value Value::dict(Runtime& runtime, std::vector<std::pair<std::string, Value>> entries) {
  runtime.charge(sizeof(Dict) + entries.size() * (sizeof(Value) + 2 * sizeof(std::string)));
  int depth = 1;
  for (const auto& [name, value] : entries) include(runtime, value, depth);
  std::vector<std::uint32_t> by_key = order_by_key(entries);
  if (drop_repeated(entries, by_key)) by_key = order_by_key(entries);
  return Value(
      Data(std::make_shared<const Dict>(Dict{std::move(entries), std::move(by_key), depth})));
}

Value Value::from_json(Runtime& runtime, const nlohmann::ordered_json& json, int depth) {
  if (depth > kMaxValueDepth) runtime.fail("values nest deeper than ", kMaxValueDepth);
  using Type = nlohmann::ordered_json::value_t;
  switch (json.type()) {
    case Type::boolean: return boolean(json.get<bool>());
    case Type::number_integer: return integer(json.get<std::int64_t>());
    case Type::number_float: return number(json.get<double>());
    case Type::string:
      runtime.charge(json.get_ref<const std::string&>().size());
      return string(json.get<std::string>());
    case Type::number_unsigned: {
      const auto value = json.get<std::uint64_t>();
      const bool fits =
          value <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
      return fits ? integer(static_cast<std::int64_t>(value)) : number(static_cast<double>(value));
    }
    case Type::array: {
      std::vector<Value> items;
      for (const auto& item : json) items.push_back(from_json(runtime, item, depth + 1));
      return list(runtime, std::move(items));
    }
    case Type::object: {
      std::vector<std::pair<std::string, Value>> entries;
      for (const auto& [key, item] : json.items()) {
        entries.emplace_back(key, from_json(runtime, item, depth + 1));
      }
      return dict(runtime, std::move(entries));
    }
    case Type::null:
    case Type::binary:
    case Type::discarded: break;
  }
  return {};
}

std::optional<std::int64_t> Value::as_integer() const noexcept {
  if (const bool* value = if_boolean()) return *value ? 1 : 0;
  if (const std::int64_t* value = if_integer()) return *value;
  return std::nullopt;
}

std::optional<double> Value::as_number() const noexcept {
  if (const double* value = if_number()) return *value;
  const auto value = as_integer();
  if (!value) return std::nullopt;
  return static_cast<double>(*value);
}

bool Value::is_true() const noexcept {
  if (const auto value = as_number()) return *value != 0.0;
  if (const std::string* value = if_string()) return !value->empty();
  if (const List* value = if_list()) return !value->items.empty();
  if (const Dict* value = if_dict()) return !value->entries.empty();
  return if_namespace() != nullptr || if_function() != nullptr;
}

std::string_view Value::type_name() const noexcept {
  if (is_undefined()) return "Undefined";
  if (is_none()) return "NoneType";
  if (if_boolean() != nullptr) return "bool";
  if (if_integer() != nullptr) return "int";
  if (if_number() != nullptr) return "float";
  if (if_string() != nullptr) return "str";
  if (const List* value = if_list()) return value->is_tuple ? "tuple" : "list";
  if (if_dict() != nullptr) return "dict";
  if (if_namespace() != nullptr) return "Namespace";
  return "function";
}

bool Value::equals(const Value& other) const noexcept {
  if (as_integer() && other.as_integer()) return *as_integer() == *other.as_integer();
  if (as_number() && other.as_number()) return *as_number() == *other.as_number();
  if (const std::string* a = if_string()) {
    return other.if_string() != nullptr && *a == *other.if_string();
  }
  if (const List* a = if_list()) {
    return other.if_list() != nullptr && lists_equal(*a, *other.if_list());
  }
  if (const Dict* a = if_dict()) {
    return other.if_dict() != nullptr && dicts_equal(*a, *other.if_dict());
  }
  return is_same_as(other);
}

bool Value::is_same_as(const Value& other) const noexcept {
  if (data_.index() != other.data_.index()) return false;
  if (is_undefined() || is_none()) return true;
  return data_ == other.data_;
}

}  // namespace tessera::jinja

#pragma once

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace tessera {

/// Parses UTF-8 JSON. @throws Error{kInvalidArgument} "<name>: ..." with the position.
nlohmann::json parse_json(std::string_view text, const std::string& name);

/// A value inside a JSON document together with its path ("tokenizer.json: model.vocab"), so that
/// what is wrong with it can be said. Borrows the document. Every method throws
/// Error{kInvalidArgument} that names the path, the wanted type and the type found.
class JsonField {
 public:
  /// The whole document; `name` is what messages call it.
  JsonField(const nlohmann::json& document, const std::string& name)
      : value_(document), path_(name + ":") {}

  const std::string& path() const noexcept { return path_; }
  const nlohmann::json& value() const noexcept { return value_; }
  bool is_null() const noexcept { return value_.is_null(); }

  /// Member of an object; a missing one is null.
  JsonField member(const std::string& key) const {
    require(value_.is_object(), "an object");
    static const nlohmann::json kNull;
    const auto it = value_.find(key);
    const char* separator = path_.back() == ':' ? " " : ".";
    return {it == value_.end() ? kNull : *it, path_, separator + key};
  }

  /// Element of an array that has one there.
  JsonField element(std::size_t i) const {
    return {array().at(i), path_, "[" + std::to_string(i) + "]"};
  }

  const nlohmann::json& array() const {
    require(value_.is_array(), "an array");
    return value_;
  }

  const nlohmann::json& object() const {
    require(value_.is_object(), "an object");
    return value_;
  }

  const std::string& string() const {
    require(value_.is_string(), "a string");
    return value_.get_ref<const std::string&>();
  }

  std::string string_or(std::string_view fallback) const {
    return is_null() ? std::string(fallback) : string();
  }

  bool boolean_or(bool fallback) const {
    if (is_null()) return fallback;
    require(value_.is_boolean(), "a boolean");
    return value_.get<bool>();
  }

  std::int64_t integer(std::int64_t low, std::int64_t high) const {
    require(value_.is_number_integer(), "an integer");
    // Unsigned values above the signed range would wrap around in get<int64_t>.
    const bool fits = !value_.is_number_unsigned() ||
                      value_.get<std::uint64_t>() <= static_cast<std::uint64_t>(INT64_MAX);
    const std::int64_t number = fits ? value_.get<std::int64_t>() : INT64_MAX;
    TESSERA_REQUIRE(number >= low && number <= high, path_, " is ", value_.dump(), ", must be in [",
                    low, ", ", high, "]");
    return number;
  }

 private:
  JsonField(const nlohmann::json& value, const std::string& parent, const std::string& step)
      : value_(value), path_(parent + step) {}

  void require(bool holds, std::string_view wanted) const {
    TESSERA_REQUIRE(holds, path_, " must be ", wanted, ", is ",
                    is_null() ? "missing or null" : value_.type_name());
  }

  const nlohmann::json& value_;
  std::string path_;
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/frontend/openai/api_error.h"

namespace tessera {

/// Reads typed fields of a JSON object and keeps the first thing that is wrong with them.
///
/// A field that is absent, null or wrong reads as std::nullopt, so a parser reads on to its end
/// and asks error() once. A value of another type is wrong: 1.0 and "1" are no integers.
///
/// Borrows the object. A plain value, used by one thread.
class FieldReader {
 public:
  /// @param prefix  What to put before names in messages: "" or "decoding.".
  explicit FieldReader(const nlohmann::json& object, std::string prefix = "")
      : object_(object), prefix_(std::move(prefix)) {}

  /// The value unless it is absent or null. Marks the name as known.
  const nlohmann::json* find(std::string_view name);

  /// In [minimum, maximum].
  std::optional<std::int64_t> integer(std::string_view name,
                                      std::int64_t minimum,
                                      std::int64_t maximum);
  std::optional<std::uint64_t> unsigned_integer(std::string_view name);
  std::optional<double> number(std::string_view name);
  std::optional<bool> flag(std::string_view name);
  std::optional<std::string> text(std::string_view name);

  /// Records that the value of `name` is wrong: "<name> <rule>, got <value>".
  void refuse(std::string_view name, const std::string& rule);

  /// Records an error unless there is one.
  void fail(ApiError error);

  const std::optional<ApiError>& error() const noexcept { return error_; }

  /// Names present in the object that nobody asked for, in alphabetical order.
  std::vector<std::string> unread_names() const;

 private:
  const nlohmann::json& object_;
  std::string prefix_;
  std::set<std::string, std::less<>> read_;
  std::optional<ApiError> error_;
};

/// The value as compact JSON, shortened for a message.
std::string brief(const nlohmann::json& value);

/// A request body that must be a JSON object in UTF-8, of bounded depth.
Parsed<nlohmann::json> parse_json_object(std::string_view body);

}  // namespace tessera

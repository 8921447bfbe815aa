#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace tessera {

/// Typed access to the fields of a JSON file whose errors name the file, the field and the value.
/// A field that is null counts as absent. All members throw Error{kInvalidArgument}.
class ConfigFields {
 public:
  /// Parses `path`. The file must hold an object.
  explicit ConfigFields(const std::filesystem::path& path);

  /// The fields of the object `name`, with errors that name it; without fields when it is absent.
  ConfigFields section(const std::string& name) const;

  bool has(const std::string& name) const;

  std::int32_t integer(const std::string& name,
                       std::int32_t min,
                       std::int32_t max = std::numeric_limits<std::int32_t>::max()) const;
  std::optional<std::int32_t> optional_integer(
      const std::string& name,
      std::int32_t min,
      std::int32_t max = std::numeric_limits<std::int32_t>::max()) const;
  double positive_number(const std::string& name) const;
  bool boolean(const std::string& name, bool absent) const;
  std::optional<std::string> optional_string(const std::string& name) const;

  /// A string, or the "content" of an object (how added tokens are written).
  std::optional<std::string> token_text(const std::string& name) const;
  std::vector<std::string> strings(const std::string& name) const;

  /// An id or a list of ids; empty when absent.
  std::vector<std::int32_t> ids(const std::string& name) const;

  /// Refuses a switch that is present with another value than `only`.
  void require_only(const std::string& name, const nlohmann::json& only) const;

  /// The field as it is; null when absent.
  const nlohmann::json& raw(const std::string& name) const;

  /// All fields.
  const nlohmann::json& object() const { return object_; }

  const std::string& file() const { return file_; }

 private:
  ConfigFields(std::string file, nlohmann::json object)
      : file_(std::move(file)), object_(std::move(object)) {}

  [[noreturn]] void fail(const std::string& name, const std::string& expected) const;
  std::int32_t checked_integer(const std::string& name,
                               const nlohmann::json& value,
                               std::int32_t min,
                               std::int32_t max) const;

  std::string file_;
  nlohmann::json object_;
};

}  // namespace tessera

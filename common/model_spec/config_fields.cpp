#include "common/model_spec/config_fields.h"

#include <fstream>

#include "common/base/error.h"

namespace tessera {
namespace {

const nlohmann::json kAbsent;

// Values are echoed into an error message; a whole subtree would drown it.
std::string shown(const nlohmann::json& value) {
  constexpr std::size_t kMaxChars = 80;
  std::string text = value.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (text.size() > kMaxChars) text = text.substr(0, kMaxChars) + "...";
  return text;
}

}  // namespace

ConfigFields::ConfigFields(const std::filesystem::path& path) : file_(path.string()) {
  std::ifstream in(path, std::ios::binary);
  TESSERA_REQUIRE(in.good(), file_, ": cannot be read");
  object_ = nlohmann::json::parse(in, nullptr, /*allow_exceptions=*/false);
  TESSERA_REQUIRE(!object_.is_discarded(), file_, ": is not valid JSON");
  TESSERA_REQUIRE(object_.is_object(), file_, ": must hold a JSON object");
}

const nlohmann::json& ConfigFields::raw(const std::string& name) const {
  const auto it = object_.find(name);
  return it == object_.end() ? kAbsent : *it;
}

ConfigFields ConfigFields::section(const std::string& name) const {
  const nlohmann::json& value = raw(name);
  if (value.is_null()) return {file_ + ": " + name, nlohmann::json::object()};
  if (!value.is_object()) fail(name, "an object");
  return {file_ + ": " + name, value};
}

bool ConfigFields::has(const std::string& name) const {
  return !raw(name).is_null();
}

void ConfigFields::fail(const std::string& name, const std::string& expected) const {
  const nlohmann::json& value = raw(name);
  TESSERA_REQUIRE(!value.is_null(), file_, ": ", name, " is missing (", expected, ")");
  const std::string message =
      detail::concat(file_, ": ", name, " = ", shown(value), " must be ", expected);
  detail::throw_error(ErrorCode::kInvalidArgument, "", message, __FILE__, __LINE__);
}

std::int32_t ConfigFields::checked_integer(const std::string& name,
                                           const nlohmann::json& value,
                                           std::int32_t min,
                                           std::int32_t max) const {
  const bool in_range = value.is_number_unsigned()
                            ? value.get<std::uint64_t>() <= static_cast<std::uint64_t>(max) &&
                                  static_cast<std::int64_t>(value.get<std::uint64_t>()) >= min
                            : value.is_number_integer() && value.get<std::int64_t>() >= min &&
                                  value.get<std::int64_t>() <= max;
  if (!in_range) fail(name, detail::concat("an integer from ", min, " to ", max));
  return value.get<std::int32_t>();
}

std::int32_t ConfigFields::integer(const std::string& name,
                                   std::int32_t min,
                                   std::int32_t max) const {
  return checked_integer(name, raw(name), min, max);
}

std::optional<std::int32_t> ConfigFields::optional_integer(const std::string& name,
                                                           std::int32_t min,
                                                           std::int32_t max) const {
  if (!has(name)) return std::nullopt;
  return integer(name, min, max);
}

double ConfigFields::positive_number(const std::string& name) const {
  const nlohmann::json& value = raw(name);
  if (!value.is_number() || !(value.get<double>() > 0.0)) fail(name, "a positive number");
  return value.get<double>();
}

bool ConfigFields::boolean(const std::string& name, bool absent) const {
  const nlohmann::json& value = raw(name);
  if (value.is_null()) return absent;
  if (!value.is_boolean()) fail(name, "true or false");
  return value.get<bool>();
}

std::optional<std::string> ConfigFields::optional_string(const std::string& name) const {
  const nlohmann::json& value = raw(name);
  if (value.is_null()) return std::nullopt;
  if (!value.is_string()) fail(name, "a string");
  return value.get<std::string>();
}

std::optional<std::string> ConfigFields::token_text(const std::string& name) const {
  const nlohmann::json& value = raw(name);
  if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    return value["content"].get<std::string>();
  }
  return optional_string(name);
}

std::vector<std::string> ConfigFields::strings(const std::string& name) const {
  const nlohmann::json& value = raw(name);
  if (value.is_null()) return {};
  if (!value.is_array()) fail(name, "a list of strings");
  std::vector<std::string> result;
  for (const nlohmann::json& item : value) {
    if (!item.is_string()) fail(name, "a list of strings");
    result.push_back(item.get<std::string>());
  }
  return result;
}

std::vector<std::int32_t> ConfigFields::ids(const std::string& name) const {
  const nlohmann::json& value = raw(name);
  if (value.is_null()) return {};
  constexpr auto kMax = std::numeric_limits<std::int32_t>::max();
  if (!value.is_array()) return {checked_integer(name, value, 0, kMax)};
  std::vector<std::int32_t> result;
  for (const nlohmann::json& item : value) result.push_back(checked_integer(name, item, 0, kMax));
  return result;
}

void ConfigFields::require_only(const std::string& name, const nlohmann::json& only) const {
  const nlohmann::json& value = raw(name);
  TESSERA_REQUIRE(value.is_null() || value == only, file_, ": ", name, " = ", shown(value),
                  " is not supported (only ", only.dump(), " is)");
}

}  // namespace tessera

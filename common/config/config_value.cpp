#include "common/config/config_value.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <type_traits>

#include "common/base/error.h"

namespace tessera {
namespace {

struct Unit {
  std::string_view suffix;
  std::int64_t factor;
};

// From the largest down, so that printing takes the largest that divides.
constexpr std::array<Unit, 8> kByteUnits = {{{"TiB", std::int64_t{1} << 40},
                                             {"GiB", std::int64_t{1} << 30},
                                             {"MiB", std::int64_t{1} << 20},
                                             {"KiB", std::int64_t{1} << 10},
                                             {"TB", 1'000'000'000'000},
                                             {"GB", 1'000'000'000},
                                             {"MB", 1'000'000},
                                             {"KB", 1'000}}};
constexpr std::array<Unit, 4> kTimeUnits = {
    {{"h", 3'600'000}, {"min", 60'000}, {"s", 1'000}, {"ms", 1}}};

template <typename T>
std::optional<T> parse_number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  return value;
}

/// "1.5s" -> 1500; `plain` is the factor of a number without a unit. None if it does not parse.
std::optional<double> parse_quantity(std::string_view text,
                                     std::span<const Unit> units,
                                     std::int64_t plain) {
  const std::size_t digits = text.find_first_not_of("0123456789.");
  const std::optional<double> number = parse_number<double>(text.substr(0, digits));
  if (!number.has_value()) return std::nullopt;
  if (digits == std::string_view::npos) return *number * static_cast<double>(plain);
  const auto unit = std::ranges::find(units, text.substr(digits), &Unit::suffix);
  if (unit == units.end()) return std::nullopt;
  return *number * static_cast<double>(unit->factor);
}

std::string quantity_text(std::int64_t value, std::span<const Unit> units) {
  if (value == 0) return "0";
  for (const Unit& unit : units) {
    if (value % unit.factor == 0) {
      return std::to_string(value / unit.factor) + std::string(unit.suffix);
    }
  }
  return std::to_string(value);
}

bool is_bytes(const ConfigKey& key) {
  return std::holds_alternative<std::int64_t ServerConfig::*>(key.field) ||
         std::holds_alternative<std::optional<std::int64_t> ServerConfig::*>(key.field);
}
bool is_time(const ConfigKey& key) {
  return std::holds_alternative<std::chrono::milliseconds ServerConfig::*>(key.field);
}
bool is_text(const ConfigKey& key) {
  return std::holds_alternative<std::string ServerConfig::*>(key.field);
}
bool is_bool(const ConfigKey& key) {
  return std::holds_alternative<bool ServerConfig::*>(key.field);
}

std::string shown(const ConfigValue& value) {
  return std::holds_alternative<std::string>(value) ? std::get<std::string>(value)
                                                    : toml_text(value);
}

[[noreturn]] void throw_refused(const ConfigKey& key, const ConfigValue& value) {
  throw Error(ErrorCode::kInvalidArgument,
              detail::concat(key.name, " is \"", shown(value), "\"; allowed: ", allowed_text(key)));
}

/// Any number in the key's own unit: count, bytes or milliseconds.
std::optional<double> number_of(const ConfigKey& key, const ConfigValue& value) {
  const double factor = is_time(key) ? 1000.0 : 1.0;
  if (const auto* integer = std::get_if<std::int64_t>(&value)) {
    return static_cast<double>(*integer) * factor;
  }
  if (const auto* number = std::get_if<double>(&value)) {
    if (is_time(key)) return *number * factor;
    return std::nullopt;
  }
  if (const auto* text = std::get_if<std::string>(&value)) {
    if (is_bytes(key)) return parse_quantity(*text, kByteUnits, 1);
    if (is_time(key)) return parse_quantity(*text, kTimeUnits, 1000);
  }
  return std::nullopt;
}

std::int64_t checked_number(const ConfigKey& key, const ConfigValue& value) {
  const std::optional<double> number = number_of(key, value);
  // The comparisons are false for NaN, and keep the cast below in range.
  const bool in_range = number.has_value() && *number >= static_cast<double>(key.minimum) &&
                        *number <= static_cast<double>(key.maximum);
  if (!in_range || *number != std::floor(*number)) throw_refused(key, value);
  return static_cast<std::int64_t>(*number);
}

}  // namespace

void set_value(ServerConfig& config, const ConfigKey& key, const ConfigValue& value) {
  std::visit(
      [&](auto member) {
        using T = std::remove_reference_t<decltype(config.*member)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (!std::holds_alternative<bool>(value)) throw_refused(key, value);
          config.*member = std::get<bool>(value);
        } else if constexpr (std::is_same_v<T, std::string>) {
          const auto* text = std::get_if<std::string>(&value);
          const bool known = text != nullptr &&
                             (key.choices.empty() || std::ranges::count(key.choices, *text) > 0);
          if (!known) throw_refused(key, value);
          config.*member = *text;
        } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
          config.*member = std::chrono::milliseconds(checked_number(key, value));
        } else if constexpr (std::is_same_v<T, std::int64_t> ||
                             std::is_same_v<T, std::optional<std::int64_t>>) {
          config.*member = checked_number(key, value);
        } else {
          config.*member = static_cast<std::int32_t>(checked_number(key, value));
        }
      },
      key.field);
}

void set_from_text(ServerConfig& config, const ConfigKey& key, const std::string& text) {
  if (is_text(key) || is_bytes(key) || is_time(key)) {
    set_value(config, key, text);
  } else if (is_bool(key)) {
    if (text != "true" && text != "false") throw_refused(key, text);
    set_value(config, key, text == "true");
  } else {
    const std::optional<std::int64_t> number = parse_number<std::int64_t>(text);
    if (!number.has_value()) throw_refused(key, text);
    set_value(config, key, *number);
  }
}

std::string value_text(const ServerConfig& config, const ConfigKey& key) {
  return std::visit(
      [&](auto member) -> std::string {
        using T = std::remove_cvref_t<decltype(config.*member)>;
        const T& value = config.*member;
        if constexpr (std::is_same_v<T, bool>) {
          return value ? "true" : "false";
        } else if constexpr (std::is_same_v<T, std::string>) {
          return value;
        } else if constexpr (std::is_same_v<T, std::chrono::milliseconds>) {
          return quantity_text(value.count(), kTimeUnits);
        } else if constexpr (std::is_same_v<T, std::int64_t>) {
          return quantity_text(value, std::span(kByteUnits).first(4));
        } else if constexpr (std::is_same_v<T, std::optional<std::int64_t>>) {
          return value ? quantity_text(*value, std::span(kByteUnits).first(4)) : "";
        } else if constexpr (std::is_same_v<T, std::int32_t>) {
          return std::to_string(value);
        } else {
          return value.has_value() ? std::to_string(*value) : "";
        }
      },
      key.field);
}

bool is_set(const ServerConfig& config, const ConfigKey& key) {
  return !value_text(config, key).empty();
}

std::string allowed_text(const ConfigKey& key) {
  if (is_bool(key)) return "true or false";
  if (is_text(key)) {
    if (key.choices.empty()) return "text";
    std::string text;
    for (const std::string_view choice : key.choices) {
      text += (text.empty() ? "" : ", ") + std::string(choice);
    }
    return text;
  }
  const bool bytes = is_bytes(key);
  const bool time = is_time(key);
  const auto bound = [&](std::int64_t value) {
    if (bytes) return quantity_text(value, std::span(kByteUnits).first(4));
    return time ? quantity_text(value, kTimeUnits) : std::to_string(value);
  };
  const std::string kind = bytes  ? "bytes (as in 512MiB or 2GB)"
                           : time ? "time (as in 250ms, 30s or 5min; plain numbers are seconds)"
                                  : "integer";
  return kind + ", " + bound(key.minimum) + " to " + bound(key.maximum);
}

ConfigValue guess_value(const std::string& text) {
  if (text == "true") return true;
  if (text == "false") return false;
  if (const auto integer = parse_number<std::int64_t>(text)) return *integer;
  if (const auto number = parse_number<double>(text)) return *number;
  return text;
}

std::string toml_text(const ConfigValue& value) {
  if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "true" : "false";
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return std::to_string(*integer);
  if (const auto* number = std::get_if<double>(&value)) {
    std::array<char, 32> buffer{};
    const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), *number).ptr;
    std::string text(buffer.data(), end);
    // TOML tells floats from integers by the point or the exponent.
    if (text.find_first_of(".en") == std::string::npos) text += ".0";
    return text;
  }
  std::string quoted = "\"";
  for (const char c : std::get<std::string>(value)) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace tessera

#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

#include "common/config/config_key.h"

namespace tessera {

/// A value as a file or a flag gives it. Flags are texts; see set_from_text.
using ConfigValue = std::variant<bool, std::int64_t, double, std::string>;

/// Stores a value. Byte counts may be integers or texts with a unit ("512MiB", "1GB"); times are
/// numbers of seconds or texts with a unit ("250ms", "1.5s", "10min").
/// @throws Error{kInvalidArgument} naming key, value and what is allowed.
void set_value(ServerConfig& config, const ConfigKey& key, const ConfigValue& value);

/// The same for the text of a flag, which is read as the key's type.
void set_from_text(ServerConfig& config, const ConfigKey& key, const std::string& text);

/// The key's value as text that set_from_text reads back to the same value, with the largest unit
/// that fits; empty for what is not set.
std::string value_text(const ServerConfig& config, const ConfigKey& key);

bool is_set(const ServerConfig& config, const ConfigKey& key);

/// What the key accepts, for people: "integer, 1 to 65536".
std::string allowed_text(const ConfigKey& key);

/// Reads a flag's value the way TOML would: true, 3, 0.5, else the text itself.
ConfigValue guess_value(const std::string& text);

/// A value of a strategy's option as TOML.
std::string toml_text(const ConfigValue& value);

}  // namespace tessera

#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "common/config/config.h"

namespace tessera {

/// The member of ServerConfig a key stands for; its type is the type of the key.
using ConfigField = std::variant<bool ServerConfig::*,
                                 std::int32_t ServerConfig::*,
                                 std::optional<std::int32_t> ServerConfig::*,
                                 std::int64_t ServerConfig::*,  ///< A number of bytes.
                                 std::optional<std::int64_t> ServerConfig::*,  ///< Likewise.
                                 std::string ServerConfig::*,
                                 std::chrono::milliseconds ServerConfig::*>;

/// One line of the table from which the TOML reader, the flags, --help, docs/configuration.md and
/// the printout of check-config are made. The default is the member's of a fresh ServerConfig.
struct ConfigKey {
  std::string_view name;
  std::string_view section;  ///< Heading in --help and in the reference.
  ConfigField field;
  std::uint8_t programs = 0;  ///< Bits of program_bit(): who reads it.
  std::string_view help;
  std::int64_t minimum = 0;  ///< Numbers, bytes and milliseconds: inclusive.
  std::int64_t maximum = 0;
  std::span<const std::string_view> choices = {};  ///< Texts: the allowed values; empty: any.
  std::string_view unset = {};  ///< What holds when an optional or empty value is not set.
};

constexpr std::uint8_t program_bit(Program program) {
  return static_cast<std::uint8_t>(1U << static_cast<unsigned>(program));
}

/// All keys, in the order of the documentation.
std::span<const ConfigKey> config_keys();

/// @return None if there is no such key.
const ConfigKey* find_config_key(std::string_view name);

/// @throws Error{kInvalidArgument} naming `name` and the nearest known key.
[[noreturn]] void throw_unknown_key(std::string_view name);

}  // namespace tessera

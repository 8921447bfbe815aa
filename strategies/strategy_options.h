#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "common/decoding/preset.h"

namespace tessera {

using OptionValue = std::variant<bool, std::int64_t, double, std::string>;

/// Options by name as a request or a configuration file gives them.
using OptionValues = std::map<std::string, OptionValue, std::less<>>;

enum class OptionType : std::uint8_t { kBool, kInteger, kNumber, kChoice };

/// Values of options by Preset. All three name the same options, so that one preset replaces
/// another whole; none names block_size, which is the model's.
using PresetTable = std::array<OptionValues, kPresetNames.size()>;

/// Declares one option of a strategy: what is accepted, and the text users read about it.
struct OptionSpec {
  std::string_view name;
  OptionType type = OptionType::kNumber;
  OptionValue default_value;
  double minimum = 0.0;                            ///< kInteger, kNumber: inclusive
  double maximum = 0.0;                            ///< kInteger, kNumber: inclusive
  bool minimum_excluded = false;                   ///< the range is (minimum, maximum]
  std::span<const std::string_view> choices = {};  ///< kChoice
  std::string_view help;
};

/// The options of one strategy, complete and valid: every declared name has a value of its type.
class StrategyOptions {
 public:
  /// Merges `given` over the defaults of `specs`.
  /// @throws Error{kInvalidArgument} naming the option, the value and what is allowed, for unknown
  ///         names (with the nearest known one), wrong types and values out of range. An integer is
  ///         accepted where a number is asked for.
  StrategyOptions(std::span<const OptionSpec> specs, const OptionValues& given);

  bool flag(std::string_view name) const;
  std::int32_t integer(std::string_view name) const;
  double number(std::string_view name) const;
  const std::string& choice(std::string_view name) const;

  const OptionValues& values() const noexcept { return values_; }

 private:
  const OptionValue& at(std::string_view name) const;

  OptionValues values_;
};

}  // namespace tessera

#include "strategies/strategy_options.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "common/base/error.h"
#include "common/base/nearest_name.h"

namespace tessera {
namespace {

const OptionSpec* find_spec(std::span<const OptionSpec> specs, std::string_view name) {
  const auto spec =
      std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == name; });
  return spec == specs.end() ? nullptr : &*spec;
}

std::string describe_unknown(std::span<const OptionSpec> specs, std::string_view name) {
  if (specs.empty()) return "this strategy takes no options";
  std::vector<std::string_view> names;
  for (const OptionSpec& spec : specs) names.push_back(spec.name);
  std::string text =
      detail::concat("did you mean '", nearest_name(name, names), "'? Known options:");
  for (const OptionSpec& spec : specs) text.append(" ").append(spec.name);
  return text;
}

std::string describe(const OptionValue& value) {
  return std::visit(
      [](const auto& v) {
        if constexpr (std::is_same_v<std::decay_t<decltype(v)>, bool>) {
          return std::string(v ? "true" : "false");
        } else {
          return detail::concat(v);
        }
      },
      value);
}

std::string describe_range(const OptionSpec& spec) {
  return detail::concat(spec.minimum_excluded ? "(" : "[", spec.minimum, ", ", spec.maximum, "]");
}

void require_in_range(const OptionSpec& spec, double value) {
  const bool above = spec.minimum_excluded ? value > spec.minimum : value >= spec.minimum;
  TESSERA_REQUIRE(above && value <= spec.maximum, "option '", spec.name, "' is ", value,
                  "; it must lie in ", describe_range(spec));
}

std::string describe_type(const OptionSpec& spec) {
  switch (spec.type) {
    case OptionType::kBool: return "true or false";
    case OptionType::kInteger: return "an integer in " + describe_range(spec);
    case OptionType::kNumber: return "a number in " + describe_range(spec);
    case OptionType::kChoice: break;
  }
  std::string text = "one of";
  for (const std::string_view choice : spec.choices) text.append(" ").append(choice);
  return text;
}

OptionValue checked_value(const OptionSpec& spec, const OptionValue& given) {
  const auto* integer = std::get_if<std::int64_t>(&given);
  const auto* number = std::get_if<double>(&given);
  const auto* text = std::get_if<std::string>(&given);
  if (spec.type == OptionType::kBool && std::holds_alternative<bool>(given)) return given;
  if (spec.type == OptionType::kInteger && integer != nullptr) {
    require_in_range(spec, static_cast<double>(*integer));
    return given;
  }
  if (spec.type == OptionType::kNumber && (integer != nullptr || number != nullptr)) {
    const double value = number != nullptr ? *number : static_cast<double>(*integer);
    require_in_range(spec, value);
    return value;
  }
  const bool is_choice =
      spec.type == OptionType::kChoice && text != nullptr &&
      std::find(spec.choices.begin(), spec.choices.end(), *text) != spec.choices.end();
  TESSERA_REQUIRE(is_choice, "option '", spec.name, "' is ", describe(given), "; it must be ",
                  describe_type(spec));
  return given;
}

}  // namespace

StrategyOptions::StrategyOptions(std::span<const OptionSpec> specs, const OptionValues& given) {
  for (const OptionSpec& spec : specs) values_.emplace(spec.name, spec.default_value);
  for (const auto& [name, value] : given) {
    const OptionSpec* spec = find_spec(specs, name);
    TESSERA_REQUIRE(spec != nullptr, "unknown option '", name, "'; ",
                    describe_unknown(specs, name));
    values_.find(name)->second = checked_value(*spec, value);
  }
}

bool StrategyOptions::flag(std::string_view name) const {
  return std::get<bool>(at(name));
}

std::int32_t StrategyOptions::integer(std::string_view name) const {
  const std::int64_t value = std::get<std::int64_t>(at(name));
  TESSERA_CHECK(value >= std::numeric_limits<std::int32_t>::min() &&
                    value <= std::numeric_limits<std::int32_t>::max(),
                "option '", name, "' is declared wider than 32 bits");
  return static_cast<std::int32_t>(value);
}

double StrategyOptions::number(std::string_view name) const {
  return std::get<double>(at(name));
}

const std::string& StrategyOptions::choice(std::string_view name) const {
  return std::get<std::string>(at(name));
}

const OptionValue& StrategyOptions::at(std::string_view name) const {
  const auto value = values_.find(name);
  TESSERA_CHECK(value != values_.end(), "option '", name, "' is not declared");
  return value->second;
}

}  // namespace tessera

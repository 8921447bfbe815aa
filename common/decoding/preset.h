#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace tessera {

/// Named settings that every strategy has, from the most careful to the fastest. What each means is
/// the strategy's: docs/strategies.
enum class Preset : std::uint8_t { kQuality, kBalanced, kFast };

/// By Preset.
inline constexpr std::array<std::string_view, 3> kPresetNames = {"quality", "balanced", "fast"};

}  // namespace tessera

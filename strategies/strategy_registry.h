#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "common/decoding/model_facts.h"
#include "strategies/strategy.h"
#include "strategies/strategy_options.h"

namespace tessera {

/// One line of the table of strategies.
struct StrategyEntry {
  std::string_view name;
  std::string_view summary;  ///< One sentence for --help.
  std::span<const OptionSpec> options;
  PresetTable presets;

  /// Why a model cannot be decoded by this strategy; empty if it can.
  std::string (*refusal)(const ModelFacts& facts);

  /// @throws Error{kInvalidArgument} if options contradict each other or the model is refused.
  std::unique_ptr<const Strategy> (*create)(const ModelFacts& facts,
                                            const StrategyOptions& options);

  /// The option block_size falls back to the checkpoint's block before its declared default.
  bool takes_models_block = true;
};

/// The preset of that name; none if there is none.
std::optional<Preset> preset_of(std::string_view name);

/// All strategies, in the order of the table in strategy_registry.cpp.
std::span<const StrategyEntry> strategy_registry();

/// @throws Error{kInvalidArgument} listing the known names if there is no such strategy.
const StrategyEntry& strategy_entry(std::string_view name);

/// Validates options and creates the strategy.
std::unique_ptr<const Strategy> create_strategy(std::string_view name,
                                                const ModelFacts& facts,
                                                OptionValues given);

}  // namespace tessera

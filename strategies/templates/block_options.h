#pragma once

#include <span>
#include <string_view>

#include "strategies/strategy_options.h"
#include "strategies/templates/block_buffer.h"
#include "strategies/templates/threshold_acceptance.h"

namespace tessera {

/// Declares a number in [0, 1].
OptionSpec share_option(std::string_view name, double default_value, std::string_view help);

/// Declares an integer in [minimum, maximum].
OptionSpec integer_option(std::string_view name,
                          std::int64_t default_value,
                          std::int64_t minimum,
                          std::int64_t maximum,
                          std::string_view help);

// Options that several strategies over mask tokens take, one declaration each.
OptionSpec block_size_option();
OptionSpec buffer_size_option();
OptionSpec add_block_threshold_option();
OptionSpec token_stability_threshold_option();
OptionSpec semi_complete_threshold_option();
OptionSpec accept_threshold_option();
OptionSpec force_rule_option();

/// All of them: what threshold acceptance over a block buffer takes.
std::span<const OptionSpec> threshold_options();

/// Presets of what takes them: how sure a token must be, and one block at a time or several.
PresetTable threshold_presets();

/// The buffer that the first four options and the model describe.
BlockBufferRules block_buffer_rules(const ModelFacts& facts,
                                    const StrategyOptions& options,
                                    const BufferParity& parity);

/// The same for strategies whose tokens may change until their block is to-cache.
BlockBufferRules revisable_rules(const ModelFacts& facts,
                                 const StrategyOptions& options,
                                 const BufferParity& parity);

/// From accept_threshold, semi_complete_threshold and force_rule.
AcceptanceRules acceptance_rules(const StrategyOptions& options);

}  // namespace tessera

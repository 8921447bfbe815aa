#include "strategies/templates/block_options.h"

#include <string>

namespace tessera {
namespace {

constexpr std::string_view kForceRules[] = {"gated", "always"};

}  // namespace

OptionSpec share_option(std::string_view name, double default_value, std::string_view help) {
  return {.name = name,
          .type = OptionType::kNumber,
          .default_value = default_value,
          .minimum = 0.0,
          .maximum = 1.0,
          .help = help};
}

OptionSpec integer_option(std::string_view name,
                          std::int64_t default_value,
                          std::int64_t minimum,
                          std::int64_t maximum,
                          std::string_view help) {
  return {.name = name,
          .type = OptionType::kInteger,
          .default_value = default_value,
          .minimum = static_cast<double>(minimum),
          .maximum = static_cast<double>(maximum),
          .help = help};
}

OptionSpec block_size_option() {
  return integer_option("block_size", 32, 1, 4096,
                        "Tokens per block (B). Must be the model's own for good text.");
}

OptionSpec buffer_size_option() {
  return integer_option("buffer_size", 4, 1, 64,
                        "Most blocks of a sequence in flight (K). 1 decodes block after block.");
}

OptionSpec add_block_threshold_option() {
  OptionSpec spec =
      share_option("add_block_threshold", 0.1,
                   "Share of the last block that is filled before the next one starts.");
  spec.minimum_excluded = true;
  return spec;
}

OptionSpec token_stability_threshold_option() {
  return share_option(
      "token_stability_threshold", 0.0,
      "Share of the last block's tokens that did not change before the next one starts.");
}

OptionSpec semi_complete_threshold_option() {
  return share_option(
      "semi_complete_threshold", 0.9,
      "Share of a block that is filled before its successor is forced to progress.");
}

OptionSpec accept_threshold_option() {
  return share_option(
      "accept_threshold", 0.9,
      "Confidence above which a token is accepted. Lower is faster and less accurate.");
}

OptionSpec force_rule_option() {
  return {.name = "force_rule",
          .type = OptionType::kChoice,
          .default_value = std::string("gated"),
          .choices = kForceRules,
          .help =
              "Which blocks accept their best token when none passes the threshold: those "
              "behind a semi-complete block, or always all."};
}

std::span<const OptionSpec> threshold_options() {
  static const OptionSpec kOptions[] = {
      block_size_option(),
      buffer_size_option(),
      accept_threshold_option(),
      add_block_threshold_option(),
      semi_complete_threshold_option(),
      token_stability_threshold_option(),
      force_rule_option(),
  };
  return kOptions;
}

PresetTable threshold_presets() {
  return {{{{"accept_threshold", 0.95}, {"buffer_size", std::int64_t{1}}},
           {{"accept_threshold", 0.9}, {"buffer_size", std::int64_t{4}}},
           {{"accept_threshold", 0.8}, {"buffer_size", std::int64_t{4}}}}};
}

BlockBufferRules block_buffer_rules(const ModelFacts& facts,
                                    const StrategyOptions& options,
                                    const BufferParity& parity) {
  BlockBufferRules rules;
  rules.mask_id = facts.mask_id.value();
  rules.shifted = facts.shifted;
  rules.block_size = options.integer("block_size");
  rules.buffer_size = options.integer("buffer_size");
  rules.add_block_threshold = options.number("add_block_threshold");
  rules.token_stability_threshold = options.number("token_stability_threshold");
  rules.parity = parity;
  return rules;
}

BlockBufferRules revisable_rules(const ModelFacts& facts,
                                 const StrategyOptions& options,
                                 const BufferParity& parity) {
  BlockBufferRules rules = block_buffer_rules(facts, options, parity);
  rules.revisable = true;
  return rules;
}

AcceptanceRules acceptance_rules(const StrategyOptions& options) {
  return {.accept_threshold = options.number("accept_threshold"),
          .semi_complete_threshold = options.number("semi_complete_threshold"),
          .always_force = options.choice("force_rule") == "always"};
}

}  // namespace tessera

// A folder of its own: strategies include strategies/, so strategies/ cannot include them.
#include "strategies/strategy_registry.h"

#include <algorithm>
#include <string>
#include <utility>

#include "common/base/error.h"
#include "strategies/d2f/d2f.h"
#include "strategies/diffusion_gemma/diffusion_gemma.h"
#include "strategies/dmax/dmax.h"
#include "strategies/edit/edit.h"
#include "strategies/fast_dllm_v2/fast_dllm_v2.h"
#include "strategies/multi_bd/multi_bd.h"

namespace tessera {
namespace {

std::string describe_fitting(const ModelFacts& facts) {
  std::string fitting;
  for (const StrategyEntry& entry : strategy_registry()) {
    if (entry.refusal(facts).empty()) fitting.append(" ").append(entry.name);
  }
  return fitting.empty() ? "; no other strategy can" : "; these can:" + fitting;
}

}  // namespace

// To add a strategy: a folder beside this one, and one line here. An explicit table, because a
// static registrar inside a static library is dropped by the linker.
std::span<const StrategyEntry> strategy_registry() {
  static const StrategyEntry kStrategies[] = {
      multi_bd_entry(), edit_entry(),         dmax_entry(),
      d2f_entry(),      fast_dllm_v2_entry(), diffusion_gemma_entry(),
  };
  return kStrategies;
}

const StrategyEntry& strategy_entry(std::string_view name) {
  const auto registry = strategy_registry();
  const auto entry = std::find_if(registry.begin(), registry.end(),
                                  [&](const auto& candidate) { return candidate.name == name; });
  std::string known;
  if (entry == registry.end()) {
    for (const StrategyEntry& candidate : registry) known.append(" ").append(candidate.name);
  }
  TESSERA_REQUIRE(entry != registry.end(), "unknown strategy '", name,
                  "'; known strategies:", known);
  return *entry;
}

std::optional<Preset> preset_of(std::string_view name) {
  const auto found = std::find(kPresetNames.begin(), kPresetNames.end(), name);
  if (found == kPresetNames.end()) return std::nullopt;
  return static_cast<Preset>(found - kPresetNames.begin());
}

std::unique_ptr<const Strategy> create_strategy(std::string_view name,
                                                const ModelFacts& facts,
                                                OptionValues given) {
  const StrategyEntry& entry = strategy_entry(name);
  const std::string refusal = entry.refusal(facts);
  TESSERA_REQUIRE(refusal.empty(), "strategy '", name, "' cannot decode this model: ", refusal,
                  describe_fitting(facts));
  const bool has_blocks = std::any_of(entry.options.begin(), entry.options.end(),
                                      [](const auto& spec) { return spec.name == "block_size"; });
  if (has_blocks && entry.takes_models_block && facts.block_size.has_value()) {
    given.try_emplace("block_size", std::int64_t{*facts.block_size});
  }
  return entry.create(facts, StrategyOptions(entry.options, given));
}

}  // namespace tessera

#include "coordinator/app/served_model.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "common/model_spec/model_spec.h"
#include "coordinator/frontend/openai/parse_generation_request.h"
#include "strategies/strategy_registry.h"

namespace tessera {
namespace {

// generation_config.json, which is optional.
nlohmann::json read_generation_config(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return nlohmann::json::object();
  auto json = nlohmann::json::parse(in, /*callback=*/nullptr, /*allow_exceptions=*/false);
  TESSERA_REQUIRE(json.is_object(), file.string(), " is not a JSON object");
  return json;
}

void read_sampling_defaults(const std::filesystem::path& file,
                            const nlohmann::json& json,
                            ServedModel& model) {
  const auto number = [&](const char* name, auto fallback) {
    const auto found = json.find(name);
    if (found == json.end() || found->is_null()) return fallback;
    TESSERA_REQUIRE(found->is_number(), file.string(), ": ", name, " is not a number");
    return found->template get<decltype(fallback)>();
  };
  model.temperature = number("temperature", 0.0F);
  model.top_p = number("top_p", 1.0F);
  model.top_k = number("top_k", std::int32_t{0});
  const auto require = [&](bool holds, const char* name, auto value, const char* range) {
    TESSERA_REQUIRE(holds, file.string(), ": ", name, " is ", value, ", must be ", range);
  };
  require(is_legal_temperature(model.temperature), "temperature", model.temperature,
          kTemperatureRange);
  require(model.top_p > 0.0F && model.top_p <= 1.0F, "top_p", model.top_p, "in (0, 1]");
  require(model.top_k >= 0, "top_k", model.top_k, "at least 0");
}

// Options of the strategy that the checkpoint names, by itself or in its sampler_config. A strategy
// that does not exist is refused where a request for it would be.
OptionValues read_strategy_defaults(const std::filesystem::path& file,
                                    const nlohmann::json& json,
                                    const std::string& strategy) {
  const auto entry = std::ranges::find(strategy_registry(), strategy, &StrategyEntry::name);
  if (entry == strategy_registry().end()) return {};
  const auto sampler = json.find("sampler_config");
  OptionValues values;
  for (const OptionSpec& option : entry->options) {
    const std::string name(option.name);
    nlohmann::json value = json.value(name, nlohmann::json());
    if (value.is_null() && sampler != json.end() && sampler->is_object()) {
      value = sampler->value(name, nlohmann::json());
    }
    if (value.is_null()) continue;
    if (value.is_number_integer()) {
      values[name] = value.get<std::int64_t>();
    } else if (value.is_number()) {
      values[name] = value.get<double>();
    } else if (value.is_boolean()) {
      values[name] = value.get<bool>();
    } else {
      TESSERA_REQUIRE(value.is_string(), file.string(), ": ", name, " is ", value.dump());
      values[name] = value.get<std::string>();
    }
  }
  try {
    const StrategyOptions checked(entry->options, values);
  } catch (const Error& error) {
    TESSERA_REQUIRE(false, file.string(), ": ", error.what());
  }
  return values;
}

std::string default_strategy(const ServerConfig& config, const ModelFacts& facts) {
  if (!config.strategy.empty()) return config.strategy;
  std::string refusals;
  for (const StrategyEntry& entry : strategy_registry()) {
    const std::string refusal = entry.refusal(facts);
    if (refusal.empty()) return std::string(entry.name);
    refusals += detail::concat("\n  ", entry.name, ": ", refusal);
  }
  TESSERA_REQUIRE(false, "no strategy decodes this model:", refusals);
  return {};
}

}  // namespace

ServedModel load_served_model(const ServerConfig& config) {
  const std::filesystem::path dir = config.model;
  ServedModel model;
  model.name = served_name(config);
  const ModelSpec spec = read_model_spec(dir);
  model.facts = facts_of(spec);
  const auto chat_template = config.chat_template.empty()
                                 ? std::nullopt
                                 : std::optional<std::filesystem::path>(config.chat_template);
  model.text = std::make_shared<const TextModel>(load_text(dir, chat_template));
  model.page_size = config.page_size;
  model.max_step_rows = step_rows(config);
  model.max_model_len = config.max_model_len.value_or(spec.max_position_embeddings);
  model.default_max_tokens = std::min(model.default_max_tokens, model.max_model_len);
  model.strategy = default_strategy(config, model.facts);
  const std::filesystem::path generation_file = dir / "generation_config.json";
  const nlohmann::json generation = read_generation_config(generation_file);
  model.checkpoint_options = read_strategy_defaults(generation_file, generation, model.strategy);
  model.preset = preset_of(config.preset);
  model.strategy_options = config.strategy_options;
  if (config.block_size) model.strategy_options["block_size"] = std::int64_t{*config.block_size};
  if (config.buffer_size) {
    model.strategy_options["buffer_size"] = std::int64_t{*config.buffer_size};
  }
  read_sampling_defaults(generation_file, generation, model);
  return model;
}

}  // namespace tessera

#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "common/decoding/model_facts.h"
#include "coordinator/text/text_model.h"
#include "strategies/strategy_registry.h"

namespace tessera {

/// What requests are resolved against: the model, its text side, the server's defaults and bounds.
/// Immutable once the front end runs.
struct ServedModel {
  std::string name;  ///< `model` of a request must say this or "default".
  ModelFacts facts;
  std::shared_ptr<const TextModel> text;
  std::int32_t page_size = 32;  ///< A request's block size must divide it.
  std::int32_t max_step_rows =
      512;  ///< Most rows of a request's buffer, which a step runs at once.
  std::int32_t max_model_len = 4096;  ///< Prompt and output together.
  std::int32_t default_max_tokens =
      512;  ///< For requests that name none; less if the prompt is long.

  std::string strategy;             ///< For requests that name none; the owner chooses it.
  OptionValues checkpoint_options;  ///< Of generation_config.json, over the strategy's defaults.
  std::optional<Preset> preset;     ///< For requests that name none, whatever their strategy.
  OptionValues strategy_options;    ///< Over the preset, under the request's values.

  float temperature = 0.0F;  ///< Of generation_config.json, else 0.
  float top_p = 1.0F;
  std::int32_t top_k = 0;
};

}  // namespace tessera

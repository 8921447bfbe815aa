#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "coordinator/frontend/openai/api_error.h"
#include "coordinator/frontend/openai/served_model.h"
#include "coordinator/request/engine_client.h"

namespace tessera {

/// Answer of /v1/models. `tessera` in it lists the strategies that decode the model, with
/// their options (ranges, defaults) and presets.
nlohmann::ordered_json models_json(const ServedModel& model, std::int64_t created);

/// Answer of /health/ready.
nlohmann::ordered_json status_json(const ClusterStatus& status, bool is_draining);

/// Answer of /tokenize: {prompt, add_special_tokens?} or {messages} -> {tokens, count,
/// max_model_len}.
Parsed<nlohmann::ordered_json> tokenize_json(std::string_view body, const ServedModel& model);

/// Answer of /detokenize: {tokens} -> {prompt}.
Parsed<nlohmann::ordered_json> detokenize_json(std::string_view body, const ServedModel& model);

}  // namespace tessera

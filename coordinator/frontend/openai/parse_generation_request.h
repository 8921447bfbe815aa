#pragma once

#include <nlohmann/json.hpp>

#include "coordinator/frontend/openai/api_error.h"
#include "coordinator/frontend/openai/field_reader.h"
#include "coordinator/frontend/openai/generation_request.h"

namespace tessera {

inline constexpr std::int32_t kMaxChoices = 128;  ///< Of a request, over all its prompts.
inline constexpr std::size_t kMaxStopStrings = 4;
inline constexpr std::size_t kMaxStopBytes = 1024;  ///< Of one stop string.

/// Greedy, or warm enough that logits / temperature stay within the range of fp32.
inline bool is_legal_temperature(double temperature) {
  return temperature == 0.0 || (temperature >= 1e-4 && temperature <= 100.0);
}
inline constexpr const char* kTemperatureRange = "0 (greedy) or in [0.0001, 100]";

/// Body of POST /v1/chat/completions.
Parsed<GenerationRequest> parse_chat_request(const nlohmann::json& body);

/// Body of POST /v1/completions.
Parsed<GenerationRequest> parse_completion_request(const nlohmann::json& body);

/// `messages` and `chat_template_kwargs` of the object; what is wrong goes to `fields`.
ChatPrompt parse_chat_prompt(FieldReader& fields);

/// A list of token ids; the bound of the vocabulary is checked later. std::nullopt if it is none.
std::optional<TokenPrompt> parse_token_ids(const nlohmann::json& value);

}  // namespace tessera

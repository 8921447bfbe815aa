#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "common/base/types.h"
#include "strategies/strategy_options.h"

namespace tessera {

/// The `decoding` object of a request.
struct DecodingFields {
  std::optional<std::string> strategy;
  OptionValues options;  ///< Everything else in the object; checked against the strategy's table.
};

/// A conversation for the chat template.
struct ChatPrompt {
  nlohmann::ordered_json messages = nlohmann::ordered_json::array();  ///< [{role, content}]
  nlohmann::ordered_json template_arguments = nlohmann::ordered_json::object();
};

using TextPrompt = std::string;
using TokenPrompt = std::vector<TokenId>;

/// A request of the chat or completions route as the client wrote it: typed and within the bounds
/// that need no model. Absent fields stay absent.
struct GenerationRequest {
  std::optional<ChatPrompt> chat;  ///< Set for the chat route, else `prompts` is not empty.
  std::vector<std::variant<TextPrompt, TokenPrompt>> prompts;
  std::optional<std::string> model;

  bool stream = false;
  bool include_usage = false;
  bool return_token_ids = false;
  bool echo = false;
  bool ignore_eos = false;
  std::int32_t num_choices = 1;  ///< Per prompt.
  std::int32_t priority = 0;
  std::vector<std::string> stop;

  std::optional<std::int64_t> max_tokens;
  std::string max_tokens_name = "max_tokens";  ///< As the client spelled it.
  std::optional<double> temperature;
  std::optional<double> top_p;
  std::optional<std::int64_t> top_k;
  std::optional<std::uint64_t> seed;
  DecodingFields decoding;

  std::vector<std::string> ignored;  ///< Names of fields that mean nothing here.
};

}  // namespace tessera

#include "coordinator/frontend/openai/parse_generation_request.h"

#include <limits>

#include "coordinator/frontend/openai/unsupported_parameters.h"

namespace tessera {
namespace {

using nlohmann::json;

constexpr std::int64_t kMaxInt32 = std::numeric_limits<std::int32_t>::max();

void parse_sampling(FieldReader& fields, GenerationRequest& request) {
  request.temperature = fields.number("temperature");
  if (request.temperature && !is_legal_temperature(*request.temperature)) {
    fields.refuse("temperature", std::string("must be ") + kTemperatureRange);
  }
  request.top_p = fields.number("top_p");
  if (request.top_p && !(*request.top_p > 0.0 && *request.top_p <= 1.0)) {
    fields.refuse("top_p", "must be in (0, 1]");
  }
  request.top_k = fields.integer("top_k", -1, kMaxInt32);
  if (request.top_k == -1) request.top_k = 0;  // how other servers spell "off"
  request.seed = fields.unsigned_integer("seed");
}

void parse_stop(FieldReader& fields, GenerationRequest& request) {
  const json* stop = fields.find("stop");
  if (stop == nullptr) return;
  const json list = stop->is_array() ? *stop : json::array({*stop});
  if (list.size() > kMaxStopStrings) fields.refuse("stop", "takes at most 4 strings");
  for (const json& item : list) {
    if (!item.is_string() || item.get_ref<const std::string&>().empty() ||
        item.get_ref<const std::string&>().size() > kMaxStopBytes) {
      fields.refuse("stop", "must be a string, or a list of at most 4, each of 1 to 1024 bytes");
      return;
    }
    request.stop.push_back(item.get<std::string>());
  }
}

void parse_max_tokens(FieldReader& fields, GenerationRequest& request) {
  const auto old_name = fields.integer("max_tokens", 1, kMaxInt32);
  const auto new_name = fields.integer("max_completion_tokens", 1, kMaxInt32);
  if (old_name && new_name && *old_name != *new_name) {
    fields.refuse("max_completion_tokens", "must equal max_tokens when both are given");
  }
  request.max_tokens = new_name ? new_name : old_name;
  if (new_name) request.max_tokens_name = "max_completion_tokens";
}

void parse_stream_options(FieldReader& fields, GenerationRequest& request) {
  request.stream = fields.flag("stream").value_or(false);
  const json* options = fields.find("stream_options");
  if (options == nullptr) return;
  if (!options->is_object()) return fields.refuse("stream_options", "must be an object");
  if (!request.stream) return fields.refuse("stream_options", "is only allowed with stream: true");
  FieldReader nested(*options, "stream_options.");
  request.include_usage = nested.flag("include_usage").value_or(false);
  if (nested.error()) fields.fail(*nested.error());
}

std::optional<OptionValue> option_value(const json& value) {
  if (value.is_boolean()) return value.get<bool>();
  if (value.is_number_unsigned() &&
      value.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
    return value.get<double>();
  }
  if (value.is_number_integer()) return value.get<std::int64_t>();
  if (value.is_number()) return value.get<double>();
  if (value.is_string()) return value.get<std::string>();
  return std::nullopt;
}

void parse_decoding(FieldReader& fields, GenerationRequest& request) {
  const json* decoding = fields.find("decoding");
  if (decoding == nullptr) return;
  if (!decoding->is_object()) return fields.refuse("decoding", "must be an object");
  FieldReader nested(*decoding, "decoding.");
  request.decoding.strategy = nested.text("strategy");
  for (const auto& [name, value] : decoding->items()) {
    if (name == "strategy" || value.is_null()) continue;
    if (auto option = option_value(value)) {
      request.decoding.options.emplace(name, std::move(*option));
    } else {
      nested.refuse(name, "must be true, false, a number or a string");
    }
  }
  if (nested.error()) fields.fail(*nested.error());
}

void parse_common(FieldReader& fields, GenerationRequest& request) {
  request.model = fields.text("model");
  refuse_unsupported_parameters(fields);
  parse_max_tokens(fields, request);
  parse_sampling(fields, request);
  parse_stop(fields, request);
  parse_stream_options(fields, request);
  parse_decoding(fields, request);
  request.num_choices = static_cast<std::int32_t>(fields.integer("n", 1, kMaxChoices).value_or(1));
  request.ignore_eos = fields.flag("ignore_eos").value_or(false);
  request.return_token_ids = fields.flag("return_token_ids").value_or(false);
  request.priority = static_cast<std::int32_t>(fields.integer("priority", -100, 100).value_or(0));
}

Parsed<GenerationRequest> finish(FieldReader& fields, GenerationRequest request) {
  if (fields.error()) return *fields.error();
  request.ignored = fields.unread_names();
  return request;
}

// A list of prompts: strings or lists of ids. A flat list of ids is one prompt.
void parse_prompts(FieldReader& fields, GenerationRequest& request) {
  const json* prompt = fields.find("prompt");
  if (prompt == nullptr) {
    ApiError error = invalid_value("prompt", "prompt is missing: a string or a list of token ids");
    error.code = "missing_field";
    return fields.fail(std::move(error));
  }
  const std::string rule =
      "must be a string, a list of token ids, or a list of at most 128 of these, none empty";
  const bool is_one = prompt->is_string() ||
                      (prompt->is_array() && !prompt->empty() && prompt->front().is_number());
  const json list = is_one ? json::array({*prompt}) : *prompt;
  if (!list.is_array() || list.empty() || list.size() > static_cast<std::size_t>(kMaxChoices)) {
    return fields.refuse("prompt", rule);
  }
  for (const json& item : list) {
    auto ids = item.is_array() ? parse_token_ids(item) : std::nullopt;
    const bool is_text = item.is_string() && !item.get_ref<const std::string&>().empty();
    if (!is_text && (!ids || ids->empty())) return fields.refuse("prompt", rule);
    if (is_text) {
      request.prompts.emplace_back(item.get<std::string>());
    } else {
      request.prompts.emplace_back(std::move(*ids));
    }
  }
}

}  // namespace

std::optional<TokenPrompt> parse_token_ids(const json& value) {
  if (!value.is_array()) return std::nullopt;
  TokenPrompt ids;
  ids.reserve(value.size());
  for (const json& item : value) {
    if (!item.is_number_integer()) return std::nullopt;
    const auto id = item.get<std::int64_t>();
    if (id < 0 || id > kMaxInt32) return std::nullopt;
    ids.push_back(static_cast<TokenId>(id));
  }
  return ids;
}

Parsed<GenerationRequest> parse_chat_request(const json& body) {
  FieldReader fields(body);
  GenerationRequest request;
  request.chat = parse_chat_prompt(fields);
  parse_common(fields, request);
  if (fields.flag("echo").value_or(false)) {
    fields.fail(unsupported_parameter("echo", "echo is only supported by /v1/completions"));
  }
  return finish(fields, std::move(request));
}

Parsed<GenerationRequest> parse_completion_request(const json& body) {
  FieldReader fields(body);
  GenerationRequest request;
  parse_prompts(fields, request);
  parse_common(fields, request);
  request.echo = fields.flag("echo").value_or(false);
  if (request.prompts.size() * static_cast<std::size_t>(request.num_choices) >
      static_cast<std::size_t>(kMaxChoices)) {
    fields.refuse("n", "times the number of prompts must be at most 128");
  }
  return finish(fields, std::move(request));
}

}  // namespace tessera

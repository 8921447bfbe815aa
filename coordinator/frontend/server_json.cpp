#include "coordinator/frontend/server_json.h"

#include <array>

#include "coordinator/frontend/openai/field_reader.h"
#include "coordinator/frontend/openai/parse_generation_request.h"
#include "coordinator/frontend/openai/resolve_request.h"
#include "strategies/strategy_registry.h"

namespace tessera {

using nlohmann::ordered_json;

namespace {

constexpr std::array<std::string_view, 3> kReplicaStates = {"starting", "ready", "lost"};
constexpr std::array<std::string_view, 4> kOptionTypes = {"bool", "integer", "number", "choice"};

ordered_json value_json(const OptionValue& value) {
  return std::visit([](const auto& v) { return ordered_json(v); }, value);
}

ordered_json option_json(const OptionSpec& spec,
                         const OptionValues& server,
                         const StrategyEntry& entry,
                         const ServedModel& model) {
  const auto configured = server.find(spec.name);
  ordered_json option = {
      {"name", spec.name},
      {"type", kOptionTypes[static_cast<std::size_t>(spec.type)]},
      {"default", value_json(configured != server.end() ? configured->second : spec.default_value)},
      {"help", spec.help}};
  if (spec.name == "block_size" && configured == server.end() && entry.takes_models_block &&
      model.facts.block_size) {
    option["default"] = *model.facts.block_size;
  }
  if (spec.type == OptionType::kInteger || spec.type == OptionType::kNumber) {
    option["minimum"] = spec.minimum;
    option["maximum"] = spec.maximum;
  }
  for (const std::string_view choice : spec.choices) option["choices"].push_back(choice);
  return option;
}

ordered_json presets_json(const StrategyEntry& entry) {
  ordered_json presets = ordered_json::object();
  for (std::size_t i = 0; i < kPresetNames.size(); ++i) {
    ordered_json values = ordered_json::object();
    for (const auto& [name, value] : entry.presets[i]) values[name] = value_json(value);
    presets[std::string(kPresetNames[i])] = std::move(values);
  }
  return presets;
}

ordered_json strategy_json(const StrategyEntry& entry, const ServedModel& model) {
  const OptionValues server = server_options(entry, model);
  ordered_json options = ordered_json::array();
  for (const OptionSpec& spec : entry.options) {
    options.push_back(option_json(spec, server, entry, model));
  }
  return {{"name", entry.name},
          {"summary", entry.summary},
          {"options", std::move(options)},
          {"presets", presets_json(entry)}};
}

}  // namespace

ordered_json models_json(const ServedModel& model, std::int64_t created) {
  ordered_json strategies = ordered_json::array();
  for (const StrategyEntry& entry : strategy_registry()) {
    if (entry.refusal(model.facts).empty()) strategies.push_back(strategy_json(entry, model));
  }
  ordered_json entry = {{"id", model.name},
                        {"object", "model"},
                        {"created", created},
                        {"owned_by", "tessera"},
                        {"max_model_len", model.max_model_len}};
  entry["tessera"] = {{"strategy", model.strategy},
                      {"page_size", model.page_size},
                      {"default_max_tokens", model.default_max_tokens},
                      {"temperature", model.temperature},
                      {"strategies", std::move(strategies)}};
  ordered_json data = ordered_json::array();
  data.push_back(std::move(entry));
  ordered_json list = {{"object", "list"}};
  list["data"] = std::move(data);
  return list;
}

ordered_json status_json(const ClusterStatus& status, bool is_draining) {
  const auto state = is_draining ? ServerState::kDraining : status.state;
  ordered_json body = {{"state", kServerStateNames[static_cast<std::size_t>(state)]},
                       {"reason", is_draining ? "the server is going down" : status.reason},
                       {"running", status.num_running},
                       {"waiting", status.num_waiting},
                       {"replicas", ordered_json::array()}};
  for (const ReplicaStatus& replica : status.replicas) {
    ordered_json entry = {{"id", replica.id},
                          {"state", kReplicaStates[static_cast<std::size_t>(replica.state)]},
                          {"epoch", replica.epoch},
                          {"ranks", ordered_json::array()}};
    for (const RankStatus& rank : replica.ranks) {
      entry["ranks"].push_back({{"rank", rank.rank},
                                {"host", rank.host},
                                {"device", rank.device},
                                {"up", rank.up},
                                {"heartbeat_age_ms", rank.heartbeat_age.count()}});
    }
    body["replicas"].push_back(std::move(entry));
  }
  return body;
}

Parsed<ordered_json> tokenize_json(std::string_view body, const ServedModel& model) {
  auto json = parse_json_object(body);
  if (auto* error = std::get_if<ApiError>(&json)) return std::move(*error);
  FieldReader fields(std::get<nlohmann::json>(json));
  const auto prompt = fields.text("prompt");
  const bool add_special = fields.flag("add_special_tokens").value_or(true);
  ChatPrompt chat;
  if (!prompt && !fields.error()) chat = parse_chat_prompt(fields);
  if (fields.error()) return *fields.error();
  const TextModel& text = *model.text;
  const auto tokens =
      prompt
          ? text.tokenizer.encode(*prompt, {.add_special = add_special})
          : text.tokenizer.encode(text.render_chat(chat.messages, true, chat.template_arguments));
  return ordered_json{
      {"tokens", tokens}, {"count", tokens.size()}, {"max_model_len", model.max_model_len}};
}

Parsed<ordered_json> detokenize_json(std::string_view body, const ServedModel& model) {
  auto json = parse_json_object(body);
  if (auto* error = std::get_if<ApiError>(&json)) return std::move(*error);
  FieldReader fields(std::get<nlohmann::json>(json));
  const nlohmann::json* value = fields.find("tokens");
  const auto ids = value == nullptr ? std::nullopt : parse_token_ids(*value);
  if (!ids) fields.refuse("tokens", "must be a list of token ids");
  if (fields.error()) return *fields.error();
  if (auto refusal = refuse_foreign_ids("tokens", *ids, model)) return *std::move(refusal);
  ordered_json answer;
  answer["prompt"] = model.text->tokenizer.decode(*ids, /*skip_special=*/false);
  return answer;
}

}  // namespace tessera

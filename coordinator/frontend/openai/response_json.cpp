#include "coordinator/frontend/openai/response_json.h"

namespace tessera {

using nlohmann::ordered_json;

namespace {

ordered_json envelope(const ResponseIdentity& identity, bool is_chunk) {
  const char* object = !identity.is_chat ? "text_completion"
                       : is_chunk        ? "chat.completion.chunk"
                                         : "chat.completion";
  ordered_json body = {{"id", identity.id},
                       {"object", object},
                       {"created", identity.created},
                       {"model", identity.model},
                       {"choices", ordered_json::array()}};
  if (is_chunk && identity.include_usage) body["usage"] = nullptr;
  return body;
}

void add_end(ordered_json& choice, const std::optional<ChoiceEnd>& end) {
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = nullptr;
  if (!end) return;
  choice["finish_reason"] = end->finish_reason;
  choice["stop_details"] = {{"type", end->detail}};
  if (end->stop_string) choice["stop_details"]["matched"] = *end->stop_string;
}

}  // namespace

ordered_json to_json(const ResponseUsage& usage) {
  return {{"prompt_tokens", usage.prompt_tokens},
          {"completion_tokens", usage.completion_tokens},
          {"total_tokens", usage.prompt_tokens + usage.completion_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}},
          {"tessera", {{"nfe", usage.nfe}, {"seed", usage.seed}}}};
}

ordered_json whole_response(const ResponseIdentity& identity,
                            const std::vector<FinishedChoice>& choices,
                            const ResponseUsage& usage) {
  ordered_json body = envelope(identity, /*is_chunk=*/false);
  for (std::size_t i = 0; i < choices.size(); ++i) {
    ordered_json choice = {{"index", i}};
    if (identity.is_chat) {
      choice["message"] = {{"role", "assistant"}, {"content", choices[i].text}};
    } else {
      choice["text"] = choices[i].text;
    }
    add_end(choice, choices[i].end);
    if (identity.return_token_ids) choice["token_ids"] = choices[i].ids;
    body["choices"].push_back(std::move(choice));
  }
  body["usage"] = to_json(usage);
  return body;
}

ordered_json choice_chunk(const ResponseIdentity& identity,
                          std::int32_t index,
                          const ChoiceOutput::Delta& delta,
                          bool is_first,
                          const std::optional<ChoiceEnd>& end) {
  ordered_json choice = {{"index", index}};
  if (identity.is_chat) {
    choice["delta"] = ordered_json::object();
    if (is_first) choice["delta"]["role"] = "assistant";
    if (is_first || !delta.text.empty()) choice["delta"]["content"] = delta.text;
  } else {
    choice["text"] = delta.text;
  }
  add_end(choice, end);
  if (identity.return_token_ids) choice["token_ids"] = delta.ids;
  ordered_json chunk = envelope(identity, /*is_chunk=*/true);
  chunk["choices"].push_back(std::move(choice));
  return chunk;
}

ordered_json usage_chunk(const ResponseIdentity& identity, const ResponseUsage& usage) {
  ordered_json chunk = envelope(identity, /*is_chunk=*/true);
  chunk["usage"] = to_json(usage);
  return chunk;
}

ordered_json diffusion_chunk(const ResponseIdentity& identity, ordered_json event) {
  ordered_json chunk = envelope(identity, /*is_chunk=*/true);
  chunk["diffusion"] = std::move(event);
  return chunk;
}

std::string sse_event(const ordered_json& data) {
  return "data: " + dump(data) + "\n\n";
}

std::string dump(const ordered_json& value) {
  return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace tessera

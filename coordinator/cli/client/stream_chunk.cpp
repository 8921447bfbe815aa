#include "coordinator/cli/client/stream_chunk.h"

#include "common/base/error.h"

namespace tessera {
namespace {

using nlohmann::json;

StreamUsage usage_of(const json& usage) {
  StreamUsage result;
  result.prompt_tokens = usage.at("prompt_tokens").get<std::int64_t>();
  result.completion_tokens = usage.at("completion_tokens").get<std::int64_t>();
  // Extensions: a server that is not ours has none.
  result.cached_tokens = usage.value("/prompt_tokens_details/cached_tokens"_json_pointer, 0);
  result.nfe = usage.value("/tessera/nfe"_json_pointer, 0);
  const json::json_pointer seed("/tessera/seed");
  if (usage.contains(seed)) result.seed = usage.at(seed).get<std::uint64_t>();
  return result;
}

void take_choice(const json& choice, StreamChunk& chunk) {
  const json& holder = choice.contains("delta") ? choice.at("delta") : choice;
  const char* field = choice.contains("delta") ? "content" : "text";
  if (holder.contains(field) && holder.at(field).is_string()) {
    chunk.text = holder.at(field).get<std::string>();
  }
  if (choice.contains("token_ids")) {
    chunk.num_tokens = static_cast<std::int32_t>(choice.at("token_ids").size());
  }
  if (choice.contains("finish_reason") && choice.at("finish_reason").is_string()) {
    chunk.finish_reason = choice.at("finish_reason").get<std::string>();
  }
}

StreamChunk chunk_of(const json& payload) {
  StreamChunk chunk;
  if (payload.contains("error")) {
    chunk.error = payload.at("error").at("message").get<std::string>();
    return chunk;
  }
  const json& choices = payload.at("choices");
  if (!choices.empty()) take_choice(choices.at(0), chunk);
  if (payload.contains("usage") && payload.at("usage").is_object()) {
    chunk.usage = usage_of(payload.at("usage"));
  }
  if (payload.contains("diffusion")) chunk.diffusion = payload.at("diffusion");
  return chunk;
}

}  // namespace

StreamChunk parse_stream_chunk(std::string_view payload) {
  try {
    return chunk_of(json::parse(payload));
  } catch (const json::exception& error) {
    throw Error(ErrorCode::kTransport,
                detail::concat("not a chunk of a completion: ", payload.substr(0, 200), " (",
                               error.what(), ")"));
  }
}

}  // namespace tessera

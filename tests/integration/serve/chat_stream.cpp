#include "tests/integration/serve/chat_stream.h"

#include <memory>
#include <nlohmann/json.hpp>

#include "coordinator/cli/client/stream_chunk.h"

namespace tessera::testing {

ChatAnswer stream_chat(const ServerUrl& server,
                       const std::string& question,
                       int max_tokens,
                       const std::function<void(const std::string& text)>& on_text) {
  HttpCall call;
  call.server = server;
  call.target = "/v1/chat/completions";
  call.timeout = std::chrono::seconds(60);
  call.body = nlohmann::json{
      {"model", "default"},
      {"messages", {{{"role", "user"}, {"content", question}}}},
      {"max_tokens", max_tokens},
      {"ignore_eos", true},
      {"temperature", 50},
      {"seed", 11},
      {"stream",
       true}}.dump();
  ChatAnswer answer;
  const HttpAnswer http = blocking_http_request(call, [&](std::string_view payload) {
    const StreamChunk chunk = parse_stream_chunk(payload);
    answer.text += chunk.text;
    if (chunk.error) answer.error = *chunk.error;
    if (!chunk.text.empty() && on_text) on_text(answer.text);
  });
  answer.status = http.status;
  answer.is_whole = http.is_done;
  if (!http.is_ok() && answer.error.empty()) answer.error = error_message(http);
  return answer;
}

std::function<void(const std::string&)> once_under_way(std::function<void()> action) {
  return [action = std::move(action),
          is_done = std::make_shared<bool>(false)](const std::string& text) {
    constexpr std::size_t kBegun = 40;
    if (*is_done || text.size() < kBegun) return;
    *is_done = true;
    action();
  };
}

}  // namespace tessera::testing

#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "coordinator/frontend/openai/api_error.h"
#include "coordinator/frontend/openai/choice_output.h"

namespace tessera {

/// What all bodies and chunks of one answer repeat.
struct ResponseIdentity {
  std::string id;
  std::string model;
  std::int64_t created = 0;  ///< Unix seconds.
  bool is_chat = true;
  bool return_token_ids = false;
  bool include_usage = false;  ///< Of a stream: every chunk has `usage`, null but in the last.
};

/// Totals of a request over its prompts and choices.
struct ResponseUsage {
  std::int64_t prompt_tokens = 0;  ///< Each prompt once, however many choices it has.
  std::int64_t cached_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t nfe = 0;
  std::uint64_t seed = 0;
};

nlohmann::ordered_json to_json(const ResponseUsage& usage);

/// The whole answer. `texts` and `ids` by choice.
struct FinishedChoice {
  std::string text;
  std::vector<TokenId> ids;
  ChoiceEnd end;
};
nlohmann::ordered_json whole_response(const ResponseIdentity& identity,
                                      const std::vector<FinishedChoice>& choices,
                                      const ResponseUsage& usage);

/// A chunk of one choice. @param end  In the last one.
nlohmann::ordered_json choice_chunk(const ResponseIdentity& identity,
                                    std::int32_t index,
                                    const ChoiceOutput::Delta& delta,
                                    bool is_first,
                                    const std::optional<ChoiceEnd>& end);

/// The chunk with usage and no choices.
nlohmann::ordered_json usage_chunk(const ResponseIdentity& identity, const ResponseUsage& usage);

/// A chunk with an event of docs/streaming.md and no choices.
nlohmann::ordered_json diffusion_chunk(const ResponseIdentity& identity,
                                       nlohmann::ordered_json event);

/// JSON as one server-sent event: "data: ...\n\n".
std::string sse_event(const nlohmann::ordered_json& data);

inline constexpr std::string_view kSseDone = "data: [DONE]\n\n";

/// Ill-formed UTF-8 cannot be in any text of ours; if it is, it becomes U+FFFD, not an exception.
std::string dump(const nlohmann::ordered_json& value);

}  // namespace tessera

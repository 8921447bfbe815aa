#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

/// Totals in the last chunk of a stream (stream_options.include_usage).
struct StreamUsage {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t completion_tokens = 0;
  std::int64_t nfe = 0;
  std::optional<std::uint64_t> seed;
};

/// One chunk of a streamed chat completion or completion, as far as the command line needs it.
struct StreamChunk {
  std::string text;             ///< Of the first choice; empty for chunks without choices.
  std::int32_t num_tokens = 0;  ///< With return_token_ids: tokens frozen in this chunk.
  std::optional<std::string> finish_reason;
  std::optional<StreamUsage> usage;
  std::optional<nlohmann::json> diffusion;  ///< An event of decoding.stream = "edits".
  std::optional<std::string> error;         ///< The request failed; nothing follows.
};

/// @throws Error{kTransport} if the payload is not such a chunk.
StreamChunk parse_stream_chunk(std::string_view payload);

}  // namespace tessera

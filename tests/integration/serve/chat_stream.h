#pragma once

#include <functional>
#include <string>

#include "coordinator/cli/client/http_client.h"

namespace tessera::testing {

struct ChatAnswer {
  std::string text;
  int status = 0;
  bool is_whole = false;  ///< The stream ended with [DONE].
  std::string error;      ///< Of the stream or of the connection.
};

/// A streamed answer of a given length. It is sampled, hot and with a fixed seed: the bundled model
/// would soon have nothing more to say, and equal texts mean equal random numbers, too. Blocks.
/// @param on_text  Called for every piece of text, with what has come so far.
ChatAnswer stream_chat(const ServerUrl& server,
                       const std::string& question,
                       int max_tokens,
                       const std::function<void(const std::string& text)>& on_text = {});

/// Calls `action` once, when the answer has begun but is far from its end.
std::function<void(const std::string& text)> once_under_way(std::function<void()> action);

}  // namespace tessera::testing

#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/cli/client/stream_chunk.h"
#include "coordinator/cli/generate/terminal_text.h"

namespace tessera {

/// The text of a stream with decoding.stream = "edits" as it stands: what is frozen, then the open
/// positions with the tokens they show at the moment, or masked. See docs/streaming.md.
class DenoisingView {
 public:
  /// What a masked position looks like.
  static constexpr const char* kMask = "\u2591";

  /// @return Whether it is worth drawing: not behind a commit, whose text comes in the next chunk.
  /// @throws Error{kTransport} for an event without its fields.
  bool apply(const StreamChunk& chunk);

  const std::string& frozen() const noexcept { return frozen_; }

  /// The text from byte `offset` of the frozen text on.
  std::vector<StyledRun> text_from(std::size_t offset) const;

 private:
  void apply_event(const nlohmann::json& event);
  void set(const nlohmann::json& event);
  void replace(const nlohmann::json& event);

  std::string frozen_;
  std::map<std::int64_t, std::string> shown_;  ///< By open position; absent: masked.
  std::int64_t committed_ = 0;                 ///< Open positions are [committed_, opened_).
  std::int64_t opened_ = 0;
};

}  // namespace tessera

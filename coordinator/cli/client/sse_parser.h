#pragma once

#include <functional>
#include <string>
#include <string_view>

namespace tessera {

/// Cuts a stream of bytes into the payloads of its server-sent events. Comments, `event:`, `id:`
/// and `retry:` lines are skipped; several `data:` lines of one event are joined by newlines.
class SseParser {
 public:
  using OnData = std::function<void(std::string_view payload)>;

  /// Calls `on_data` for every event that `bytes` completes.
  void feed(std::string_view bytes, const OnData& on_data);

 private:
  void take_line(std::string_view line, const OnData& on_data);

  std::string line_;  ///< Of the line not yet ended.
  std::string data_;  ///< Of the event not yet ended.
  bool has_data_ = false;
};

}  // namespace tessera

#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tessera {

/// Shows how far the load of a model is: a bar that is redrawn where a person watches, else a log
/// line now and then.
class LoadProgress {
 public:
  /// @param is_terminal  Whether stderr is one.
  explicit LoadProgress(bool is_terminal) : is_terminal_(is_terminal) {}

  void show(std::int64_t done_bytes, std::int64_t total_bytes);

 private:
  bool is_terminal_;
  std::chrono::steady_clock::time_point next_line_ = std::chrono::steady_clock::now() + kQuiet;

  /// A model that loads faster needs no lines.
  static constexpr std::chrono::seconds kQuiet{2};
};

/// "[#######.............] 35 % of 1204.0 MiB".
std::string progress_bar(std::int64_t done_bytes, std::int64_t total_bytes);

}  // namespace tessera

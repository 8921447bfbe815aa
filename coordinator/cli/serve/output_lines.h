#pragma once

#include <deque>
#include <functional>
#include <string>
#include <string_view>

namespace tessera {

/// Cuts what a child prints into lines and keeps the last ones for an error report. Escape
/// sequences and other control characters are left out; empty lines are dropped.
class OutputLines {
 public:
  static constexpr std::size_t kNumKept = 12;
  static constexpr std::size_t kMaxLineBytes = 4096;  ///< A longer line is cut into several.

  using OnLine = std::function<void(const std::string& line)>;

  /// Calls `on_line` for every line that `bytes` completes.
  void feed(std::string_view bytes, const OnLine& on_line);

  /// At the end of the output: the last line may have no newline.
  void finish(const OnLine& on_line);

  const std::deque<std::string>& last() const noexcept { return last_; }

 private:
  std::string line_;
  std::deque<std::string> last_;
};

}  // namespace tessera

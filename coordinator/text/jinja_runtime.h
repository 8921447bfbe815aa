#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/error.h"

namespace tessera::jinja {

// What one rendering may cost. A template comes with a checkpoint and is as little trusted as the
// request it renders; real ones stay below a thousandth of each limit, except for the bytes of the
// conversation itself.
inline constexpr std::size_t kMaxSourceBytes = 1 << 20;
inline constexpr std::int64_t kMaxSteps = 4'000'000;                  ///< Nodes evaluated.
inline constexpr std::int64_t kMaxWorkBytes = std::int64_t{1} << 27;  ///< Bytes of all values made.
inline constexpr std::size_t kMaxOutputBytes = std::size_t{1} << 26;
inline constexpr int kMaxEvaluationDepth = 300;  ///< Nested nodes, through macro calls.
inline constexpr int kMaxValueDepth = 100;       ///< Lists in lists.
inline constexpr int kMaxSyntaxDepth = 100;      ///< Nested blocks and parentheses, each.

/// Throws Error{kInvalidArgument} "chat template line N: ...".
template <typename... Parts>
[[noreturn]] void fail_at(int line, const Parts&... parts) {
  throw Error(ErrorCode::kInvalidArgument,
              detail::concat("chat template line ", line, ": ", parts...));
}

/// The account of one rendering: what it may still spend, and the line it is at.
class Runtime {
 public:
  void at_line(int line) noexcept { line_ = line; }
  int line() const noexcept { return line_; }

  template <typename... Parts>
  [[noreturn]] void fail(const Parts&... parts) const {
    fail_at(line_, parts...);
  }

  void charge_step() {
    if (++steps_ > kMaxSteps) fail("rendering takes more than ", kMaxSteps, " steps");
  }

  /// Before values of about `bytes` are made or looked through.
  void charge(std::size_t bytes) {
    // A single request above the limit must not overflow the sum.
    work_bytes_ += bytes > kMaxWorkBytes ? kMaxWorkBytes + 1 : static_cast<std::int64_t>(bytes);
    if (work_bytes_ > kMaxWorkBytes) fail("rendering makes more than ", kMaxWorkBytes, " bytes");
  }

 private:
  int line_ = 1;
  std::int64_t steps_ = 0;
  std::int64_t work_bytes_ = 0;
};

}  // namespace tessera::jinja

#include "worker/main/load_progress.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <cstdio>

namespace tessera {
namespace {

constexpr int kBarWidth = 20;

}  // namespace

std::string progress_bar(std::int64_t done_bytes, std::int64_t total_bytes) {
  const double share =
      total_bytes <= 0
          ? 1.0
          : std::clamp(static_cast<double>(done_bytes) / static_cast<double>(total_bytes), 0.0,
                       1.0);
  const int filled = static_cast<int>(share * kBarWidth);
  return fmt::format("[{}{}] {:.0f} % of {:.1f} MiB", std::string(filled, '#'),
                     std::string(kBarWidth - filled, '.'), share * 100,
                     static_cast<double>(total_bytes) / (1 << 20));
}

void LoadProgress::show(std::int64_t done_bytes, std::int64_t total_bytes) {
  const bool is_done = done_bytes >= total_bytes;
  if (is_terminal_) {
    std::fprintf(stderr, "\rloading %s%s", progress_bar(done_bytes, total_bytes).c_str(),
                 is_done ? "\n" : "");
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now < next_line_) return;
  next_line_ = now + kQuiet;
  spdlog::info("loading {}", progress_bar(done_bytes, total_bytes));
}

}  // namespace tessera

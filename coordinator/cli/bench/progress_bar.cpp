#include "coordinator/cli/bench/progress_bar.h"

#include <iomanip>
#include <ostream>
#include <sstream>
#include <utility>

namespace tessera {
namespace {

constexpr std::size_t kWidth = 30;
constexpr std::chrono::milliseconds kInterval{100};
constexpr const char* kEraseLine = "\r\033[K";

}  // namespace

ProgressBar::ProgressBar(std::ostream* out,
                         const Clock& clock,
                         std::string title,
                         std::size_t total)
    : out_(out), clock_(clock), title_(std::move(title)), total_(total), start_(clock.now()) {
  draw();
}

ProgressBar::~ProgressBar() {
  if (out_ != nullptr) *out_ << kEraseLine << std::flush;
}

void ProgressBar::advance(bool is_ok) {
  ++num_done_;
  num_failed_ += is_ok ? 0 : 1;
  draw();
}

void ProgressBar::draw() {
  const TimePoint now = clock_.now();
  if (out_ == nullptr || now < next_draw_) return;
  next_draw_ = now + kInterval;
  const std::size_t filled = total_ == 0 ? kWidth : kWidth * num_done_ / total_;
  const double seconds = std::chrono::duration<double>(now - start_).count();
  std::ostringstream line;
  line << kEraseLine << title_ << " [" << std::string(filled, '#')
       << std::string(kWidth - filled, ' ') << "] " << num_done_ << "/" << total_;
  if (seconds > 0.0) {
    line << std::fixed << std::setprecision(1) << "  " << static_cast<double>(num_done_) / seconds
         << "/s";
  }
  if (num_failed_ > 0) line << "  " << num_failed_ << " failed";
  *out_ << line.str() << std::flush;
}

}  // namespace tessera

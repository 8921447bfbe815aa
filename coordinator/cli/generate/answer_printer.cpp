#include "coordinator/cli/generate/answer_printer.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <iomanip>
#include <iostream>
#include <sstream>

namespace tessera {
namespace {

TerminalSize terminal_size() {
  winsize size{};
  TerminalSize result;
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
    result = {size.ws_col, std::max<int>(size.ws_row, 2)};
  }
  return result;
}

}  // namespace

void AnswerPrinter::take(const StreamChunk& chunk) {
  if (chunk.error) error_ = chunk.error;
  if (chunk.usage) usage_ = chunk.usage;
  if (chunk.finish_reason) finish_reason_ = *chunk.finish_reason;
  const bool has_news = view_.apply(chunk);
  if (shows_denoising_ && has_news) std::cout << screen_.draw(view_, terminal_size());
  if (!shows_denoising_) std::cout << chunk.text;
  std::cout << std::flush;
}

void AnswerPrinter::finish() {
  std::cout << (shows_denoising_ ? screen_.finish(view_, terminal_size()) : "\n") << std::flush;
}

std::string AnswerPrinter::summary(std::chrono::nanoseconds duration) const {
  if (!usage_) return "the server sent no usage";
  const auto num_tokens = static_cast<double>(usage_->completion_tokens);
  const double seconds = std::chrono::duration<double>(duration).count();
  std::ostringstream text;
  text << std::fixed << usage_->completion_tokens << " tokens in " << std::setprecision(2)
       << seconds << " s (" << std::setprecision(1) << num_tokens / seconds << " tokens/s)";
  if (usage_->nfe > 0) {
    text << ", " << usage_->nfe << " steps, " << std::setprecision(2)
         << num_tokens / static_cast<double>(usage_->nfe) << " tokens per step";
  }
  if (usage_->seed) text << ", seed " << *usage_->seed;
  if (finish_reason_ == "length") text << "; cut off: --max-tokens or another limit was reached";
  return text.str();
}

}  // namespace tessera

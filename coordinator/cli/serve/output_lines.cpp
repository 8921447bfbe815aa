#include "coordinator/cli/serve/output_lines.h"

#include <utility>

namespace tessera {
namespace {

bool is_text(char c) {
  return c == '\t' || static_cast<unsigned char>(c) >= 0x20;
}

/// Without colours and other control sequences: ESC [ parameters letter.
std::string printable(std::string_view line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] == '\x1b' && i + 1 < line.size() && line[i + 1] == '[') {
      i += 2;
      while (i < line.size() && (line[i] < '@' || line[i] > '~')) ++i;
    } else if (is_text(line[i])) {
      text += line[i];
    }
  }
  return text;
}

}  // namespace

void OutputLines::feed(std::string_view bytes, const OnLine& on_line) {
  for (const char c : bytes) {
    const bool ends = c == '\n' || c == '\r';  // progress that redraws its line is a line each
    if (!ends) line_ += c;
    if (ends || line_.size() >= kMaxLineBytes) finish(on_line);
  }
}

void OutputLines::finish(const OnLine& on_line) {
  const std::string text = printable(std::exchange(line_, {}));
  if (text.empty()) return;
  last_.push_back(text);
  if (last_.size() > kNumKept) last_.pop_front();
  on_line(text);
}

}  // namespace tessera

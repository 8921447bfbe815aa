#include "coordinator/cli/generate/denoising_screen.h"

#include <algorithm>

namespace tessera {
namespace {

constexpr const char* kDim = "\x1b[2m";
constexpr const char* kNormal = "\x1b[0m";
constexpr const char* kClearBelow = "\r\x1b[J";

std::string painted(const TextLine& line) {
  std::string text;
  for (const StyledRun& run : line.runs) {
    text += run.state == TextState::kFrozen ? run.text : kDim + run.text + kNormal;
  }
  return text;
}

}  // namespace

std::string DenoisingScreen::draw(const DenoisingView& view, const TerminalSize& size) {
  return draw_lines(wrap_text(view.text_from(settled_), size.columns), size);
}

std::string DenoisingScreen::finish(const DenoisingView& view, const TerminalSize& size) {
  const StyledRun frozen{TextState::kFrozen, view.frozen().substr(settled_)};
  return draw_lines(wrap_text({&frozen, 1}, size.columns), size) + "\n";
}

// A terminal that became narrower has broken the rows we wrote.
int DenoisingScreen::rows_drawn(int columns) const {
  int rows = 0;
  for (const int width : widths_) rows += std::max(1, (width + columns - 1) / columns);
  return rows;
}

std::string DenoisingScreen::draw_lines(const std::vector<TextLine>& lines,
                                        const TerminalSize& size) {
  std::string out;
  if (const int rows = rows_drawn(size.columns); rows > 1) {
    out += "\x1b[" + std::to_string(rows - 1) + "A";
  }
  out += kClearBelow;
  widths_.clear();
  std::size_t settled = 0;
  for (const TextLine& line : lines) {
    // Rows that may change must all stay on the screen, else they could not be replaced.
    if (!line.is_final && static_cast<int>(widths_.size()) >= size.rows - 1) break;
    if (line.is_final) {
      out += painted(line) + "\n";
      settled = line.end;
      continue;
    }
    out += (widths_.empty() ? "" : "\n") + painted(line);
    widths_.push_back(line.width);
  }
  settled_ += settled;
  return out;
}

}  // namespace tessera

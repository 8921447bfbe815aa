#pragma once

#include <string>
#include <vector>

#include "coordinator/cli/generate/denoising_view.h"

namespace tessera {

struct TerminalSize {
  int columns = 80;
  int rows = 24;
};

/// Redraws a DenoisingView in place at the bottom of a terminal. Rows that are final are written
/// once and scroll away like any text; only what may still change is written again, so that a long
/// answer neither flickers nor costs more than a short one.
class DenoisingScreen {
 public:
  /// What to write to the terminal now. Frozen text is normal, provisional text and masks are dim.
  std::string draw(const DenoisingView& view, const TerminalSize& size);

  /// The same at the end, with the frozen text alone; ends with a newline.
  std::string finish(const DenoisingView& view, const TerminalSize& size);

 private:
  std::string draw_lines(const std::vector<TextLine>& lines, const TerminalSize& size);
  int rows_drawn(int columns) const;

  std::size_t settled_ = 0;  ///< Bytes of the frozen text in rows that are written for good.
  std::vector<int> widths_;  ///< Of the rows that the next call replaces.
};

}  // namespace tessera

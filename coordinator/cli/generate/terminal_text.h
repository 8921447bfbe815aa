#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace tessera {

/// How final a piece of a text is that is still being denoised.
enum class TextState : std::uint8_t { kFrozen, kProvisional, kMasked };

struct StyledRun {
  TextState state = TextState::kFrozen;
  std::string text;  ///< UTF-8

  bool operator==(const StyledRun&) const = default;
};

/// One row of a terminal.
struct TextLine {
  std::vector<StyledRun> runs;
  int width = 0;          ///< In columns.
  std::size_t end = 0;    ///< Bytes of the whole text up to the start of the next line.
  bool is_final = false;  ///< Its text and where it breaks are frozen.
};

/// Columns that a code point takes: 2 for wide East Asian characters and most emoji, 0 for
/// combining marks and control characters.
int display_width(char32_t code_point);

/// Breaks a text into rows of at most `columns`: at newlines, behind the last blank that fits, or
/// within a word that is longer than a row. The blank at a break is dropped. Tabs are four blanks,
/// other control characters are left out. A text that ends with a newline has an empty last row.
///
/// The text behind a final line wraps the same way on its own: callers may go on from there.
std::vector<TextLine> wrap_text(std::span<const StyledRun> text, int columns);

}  // namespace tessera

#include "coordinator/cli/generate/terminal_text.h"

#include <utf8proc.h>

#include <algorithm>
#include <utility>

#include "coordinator/text/utf8.h"

namespace tessera {
namespace {

/// What stays together on a row: a character and its combining marks.
struct Cell {
  TextState state;
  std::string text;
  int width = 0;
  std::size_t end = 0;  ///< Bytes of the whole text up to its end.

  bool is_blank() const { return text[0] == ' '; }
};

/// Collects cells into rows.
class Wrapper {
 public:
  explicit Wrapper(int columns) : columns_(std::max(columns, 2)) {}

  void add(Cell cell) {
    if (cell.width == 0) {  // a mark belongs to the character before it
      if (row_.empty()) return;
      row_.back().text += cell.text;
      row_.back().end = cell.end;
      return;
    }
    // Twice if the word that moves to the next row fills that, too.
    while (width_ + cell.width > columns_) {
      break_row(cell);
      if (cell.is_blank()) return;
    }
    width_ += cell.width;
    row_.push_back(std::move(cell));
  }

  void end_row(TextState state, std::size_t end) {
    emit(row_, end, state == TextState::kFrozen);
    row_.clear();
    width_ = 0;
  }

  std::vector<TextLine> finish(std::size_t end) {
    emit(row_, end, /*is_final=*/false);  // more may come
    return std::move(lines_);
  }

 private:
  // `next` does not fit any more. Frozen text is a prefix: if `next` is frozen, so is the row.
  void break_row(const Cell& next) {
    const bool is_final = next.state == TextState::kFrozen;
    const auto rest = next.is_blank() ? row_.end() : behind_last_blank();
    std::vector<Cell> moved(std::make_move_iterator(rest), std::make_move_iterator(row_.end()));
    row_.erase(rest, row_.end());
    const std::size_t end = next.is_blank() ? next.end : row_.back().end;
    while (!row_.empty() && row_.back().is_blank()) row_.pop_back();
    emit(row_, end, is_final);
    row_ = std::move(moved);
    width_ = 0;
    for (const Cell& cell : row_) width_ += cell.width;
  }

  // Blanks that indent a row are no place to break it.
  std::vector<Cell>::iterator behind_last_blank() {
    const auto is_blank = [](const Cell& cell) { return cell.is_blank(); };
    const auto text = std::find_if_not(row_.begin(), row_.end(), is_blank);
    const auto blank = std::find_if(row_.rbegin(), std::make_reverse_iterator(text), is_blank);
    return blank.base() == text ? row_.end() : blank.base();
  }

  void emit(const std::vector<Cell>& cells, std::size_t end, bool is_final) {
    TextLine line{{}, 0, end, is_final};
    for (const Cell& cell : cells) {
      if (line.runs.empty() || line.runs.back().state != cell.state) {
        line.runs.push_back({cell.state, ""});
      }
      line.runs.back().text += cell.text;
      line.width += cell.width;
    }
    lines_.push_back(std::move(line));
  }

  int columns_;
  int width_ = 0;
  std::vector<Cell> row_;
  std::vector<TextLine> lines_;
};

}  // namespace

int display_width(char32_t code_point) {
  return utf8proc_charwidth(static_cast<utf8proc_int32_t>(code_point));
}

std::vector<TextLine> wrap_text(std::span<const StyledRun> text, int columns) {
  Wrapper wrapper(columns);
  std::size_t bytes_before = 0;
  for (const StyledRun& run : text) {
    for (std::size_t offset = 0; offset < run.text.size();) {
      const std::size_t start = offset;
      const char32_t code_point = next_code_point(run.text, offset);
      const std::size_t end = bytes_before + offset;
      if (code_point == U'\n') {
        wrapper.end_row(run.state, end);
      } else if (code_point == U'\t') {
        for (int i = 0; i < 4; ++i) wrapper.add({run.state, " ", 1, end});
      } else if (code_point >= 0x20 && (code_point < 0x7f || code_point >= 0xa0)) {
        wrapper.add(
            {run.state, run.text.substr(start, offset - start), display_width(code_point), end});
      }
    }
    bytes_before += run.text.size();
  }
  return wrapper.finish(bytes_before);
}

}  // namespace tessera

#include "coordinator/cli/bench/markdown_table.h"

#include <algorithm>
#include <cmath>
#include <iomanip>
#include <sstream>

#include "common/base/error.h"

namespace tessera {
namespace {

std::string escaped_cell(const std::string& cell) {
  std::string text;
  for (const char c : cell) {
    if (c == '|') text += '\\';
    text += c == '\n' ? ' ' : c;
  }
  return text;
}

std::string line_of(const std::vector<std::string>& cells) {
  std::string line = "|";
  for (const std::string& cell : cells) line += " " + cell + " |";
  return line + "\n";
}

}  // namespace

void MarkdownTable::add(std::vector<std::string> cells) {
  TESSERA_CHECK(cells.size() == rows_.front().size(), "a row of ", cells.size(), " cells");
  std::ranges::transform(cells, cells.begin(), escaped_cell);
  rows_.push_back(std::move(cells));
}

std::vector<std::string> MarkdownTable::padded(const std::vector<std::string>& row) const {
  std::vector<std::string> cells = row;
  for (std::size_t column = 0; column < cells.size(); ++column) {
    std::size_t width = 3;
    for (const auto& other : rows_) width = std::max(width, other[column].size());
    const std::string blanks(width - cells[column].size(), ' ');
    cells[column] = column == 0 ? cells[column] + blanks : blanks + cells[column];
  }
  return cells;
}

std::string MarkdownTable::text() const {
  std::vector<std::string> rule = padded(rows_.front());
  for (std::size_t column = 0; column < rule.size(); ++column) {
    rule[column] = std::string(rule[column].size(), '-');
    if (column > 0) rule[column].back() = ':';
  }
  std::string text = line_of(padded(rows_.front())) + line_of(rule);
  for (std::size_t i = 1; i < rows_.size(); ++i) text += line_of(padded(rows_[i]));
  return text;
}

std::string number_text(double value) {
  const double size = std::abs(value);
  const bool is_whole = size == std::floor(size);
  const int decimals = is_whole || size >= 100.0 ? 0 : size >= 10.0 ? 1 : size >= 1.0 ? 2 : 3;
  std::ostringstream out;
  out << std::fixed << std::setprecision(decimals) << value;
  return out.str();
}

}  // namespace tessera

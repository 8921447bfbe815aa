#pragma once

#include <string>
#include <vector>

namespace tessera {

/// A Markdown table whose columns line up as plain text, too: the first one to the left, the others
/// to the right.
class MarkdownTable {
 public:
  explicit MarkdownTable(std::vector<std::string> header) { rows_.push_back(std::move(header)); }

  /// As many cells as the header has; a "|" in a cell is escaped.
  void add(std::vector<std::string> cells);

  std::string text() const;

 private:
  std::vector<std::string> padded(const std::vector<std::string>& row) const;

  std::vector<std::vector<std::string>> rows_;
};

/// About three significant digits, without exponent: "0.123", "12.3", "1234"; whole numbers as
/// such.
std::string number_text(double value);

}  // namespace tessera

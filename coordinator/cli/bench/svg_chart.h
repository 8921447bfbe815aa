#pragma once

#include <string>
#include <vector>

namespace tessera {

/// A line through one value per tick of the x axis.
struct ChartSeries {
  std::string name;
  std::string colour;  ///< "#1f5fa8"
  std::vector<double> values;
};

/// A coordinate system of its own, y from 0.
struct ChartPanel {
  std::string y_label;
  std::vector<ChartSeries> series;
};

/// Panels above each other over one x axis, whose ticks stand at equal distances: loads are chosen
/// in geometric steps.
struct Chart {
  std::string title;
  std::string subtitle;
  std::string x_label;
  std::vector<std::string> x_ticks;
  std::vector<ChartPanel> panels;
};

/// A whole SVG document, dark on white, without script, font or anything else from outside.
std::string svg_of(const Chart& chart);

/// Round steps for an axis from 0 to `top`: 0, 50, 100, ..., the last one at or above `top`.
std::vector<double> axis_ticks(double top);

}  // namespace tessera

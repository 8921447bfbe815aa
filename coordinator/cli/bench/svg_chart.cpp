#include "coordinator/cli/bench/svg_chart.h"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "coordinator/cli/bench/markdown_table.h"

namespace tessera {
namespace {

constexpr double kChartWidth = 760;
constexpr double kHead = 70;
constexpr double kPanelHeight = 250;
constexpr double kPanelGap = 44;
constexpr double kFoot = 56;
constexpr double kLeft = 84;
constexpr double kRight = 190;  // holds the legends
constexpr double kPlotWidth = kChartWidth - kLeft - kRight;
constexpr const char* kInk = "#1c2430";
constexpr const char* kPale = "#5b6675";
constexpr const char* kGrid = "#e1e5ea";

std::string xml_escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      default: result += c;
    }
  }
  return result;
}

class Canvas {
 public:
  explicit Canvas(const Chart& chart) : chart_(chart) {}

  std::string draw() {
    const auto num_panels = static_cast<double>(chart_.panels.size());
    const double height = kHead + num_panels * (kPanelHeight + kPanelGap) - kPanelGap + kFoot;
    out_ << "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" << kChartWidth << "\" height=\""
         << height << "\" viewBox=\"0 0 " << kChartWidth << " " << height
         << "\" font-family=\"sans-serif\" font-size=\"13\">\n"
         << "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n";
    text(kLeft, 30, chart_.title, kInk, "start", "font-size=\"17\" font-weight=\"bold\"");
    text(kLeft, 50, chart_.subtitle, kPale, "start");
    for (std::size_t i = 0; i < chart_.panels.size(); ++i) {
      panel(chart_.panels[i], kHead + static_cast<double>(i) * (kPanelHeight + kPanelGap));
    }
    text(kLeft + kPlotWidth / 2, height - 14, chart_.x_label, kInk, "middle");
    out_ << "</svg>\n";
    return out_.str();
  }

 private:
  double x_of(std::size_t tick) const {
    const auto count = static_cast<double>(chart_.x_ticks.size());
    return kLeft + kPlotWidth * (static_cast<double>(tick) + 0.5) / count;
  }

  void text(double x,
            double y,
            const std::string& words,
            const char* colour,
            const char* anchor,
            const std::string& more = "") {
    out_ << "<text x=\"" << x << "\" y=\"" << y << "\" fill=\"" << colour << "\" text-anchor=\""
         << anchor << "\" " << more << ">" << xml_escaped(words) << "</text>\n";
  }

  void line(double x1, double y1, double x2, double y2, const char* colour) {
    out_ << "<line x1=\"" << x1 << "\" y1=\"" << y1 << "\" x2=\"" << x2 << "\" y2=\"" << y2
         << "\" stroke=\"" << colour << "\"/>\n";
  }

  void panel(const ChartPanel& panel, double top) {
    double largest = 0.0;
    for (const ChartSeries& series : panel.series) {
      for (const double value : series.values) largest = std::max(largest, value);
    }
    const std::vector<double> ticks = axis_ticks(largest);
    const double bottom = top + kPanelHeight;
    const auto y_of = [&](double value) { return bottom - kPanelHeight * value / ticks.back(); };
    for (const double tick : ticks) {
      line(kLeft, y_of(tick), kLeft + kPlotWidth, y_of(tick), tick == 0.0 ? kInk : kGrid);
      text(kLeft - 10, y_of(tick) + 4.5, number_text(tick), kInk, "end");
    }
    line(kLeft, top, kLeft, bottom, kInk);
    for (std::size_t i = 0; i < chart_.x_ticks.size(); ++i) {
      line(x_of(i), bottom, x_of(i), bottom + 5, kInk);
      text(x_of(i), bottom + 20, chart_.x_ticks[i], kInk, "middle");
    }
    const std::string at = "22," + number_text((top + bottom) / 2);
    text(22, (top + bottom) / 2, panel.y_label, kInk, "middle",
         "transform=\"rotate(-90 " + at + ")\"");
    for (std::size_t i = 0; i < panel.series.size(); ++i) {
      draw_series(panel.series[i], y_of);
      legend(panel.series[i], top + 14 + 24 * static_cast<double>(i));
    }
  }

  template <typename YOf>
  void draw_series(const ChartSeries& series, YOf y_of) {
    out_ << "<polyline fill=\"none\" stroke=\"" << series.colour
         << "\" stroke-width=\"2.5\" points=\"";
    for (std::size_t i = 0; i < series.values.size(); ++i) {
      out_ << x_of(i) << "," << y_of(series.values[i]) << " ";
    }
    out_ << "\"/>\n";
    for (std::size_t i = 0; i < series.values.size(); ++i) {
      out_ << "<circle cx=\"" << x_of(i) << "\" cy=\"" << y_of(series.values[i])
           << "\" r=\"4\" fill=\"" << series.colour << "\"><title>" << xml_escaped(series.name)
           << ": " << number_text(series.values[i]) << "</title></circle>\n";
    }
  }

  void legend(const ChartSeries& series, double y) {
    const double x = kLeft + kPlotWidth + 20;
    out_ << "<line x1=\"" << x << "\" y1=\"" << y << "\" x2=\"" << x + 22 << "\" y2=\"" << y
         << "\" stroke=\"" << series.colour << "\" stroke-width=\"2.5\"/>\n";
    text(x + 30, y + 4.5, series.name, kInk, "start");
  }

  const Chart& chart_;
  std::ostringstream out_;
};

}  // namespace

std::vector<double> axis_ticks(double top) {
  constexpr double kMaxIntervals = 6.0;
  if (!(top > 0.0)) return {0.0, 1.0};
  const double rough = top / kMaxIntervals;
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  double step = 10.0 * power;
  for (const double factor : {5.0, 2.5, 2.0, 1.0}) {
    if (factor * power >= rough) step = factor * power;
  }
  std::vector<double> ticks = {0.0};
  while (ticks.back() < top * (1.0 - 1e-9)) {
    ticks.push_back(static_cast<double>(ticks.size()) * step);
  }
  return ticks;
}

std::string svg_of(const Chart& chart) {
  return Canvas(chart).draw();
}

}  // namespace tessera

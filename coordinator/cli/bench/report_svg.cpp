#include "coordinator/cli/bench/bench_report.h"
#include "coordinator/cli/bench/markdown_table.h"
#include "coordinator/cli/bench/svg_chart.h"

namespace tessera {
namespace {

// Apart in hue and in lightness, so that they can be told apart in print and by the colour-blind.
constexpr const char* kBlue = "#1f5fa8";
constexpr const char* kSky = "#5aa9e6";
constexpr const char* kRed = "#a8201a";
constexpr const char* kOrange = "#d9780d";
constexpr const char* kGreen = "#2e7d4f";

template <typename Value>
ChartSeries series_of(const BenchRun& run, std::string name, const char* colour, Value value) {
  ChartSeries series{std::move(name), colour, {}};
  for (const LevelSummary& level : run.summaries) series.values.push_back(value(level));
  return series;
}

ChartPanel throughput_panel(const BenchRun& run) {
  ChartPanel panel{"tokens per second", {}};
  panel.series.push_back(series_of(run, "output, all requests", kBlue, [](const auto& level) {
    return level.output_tokens_per_second;
  }));
  panel.series.push_back(series_of(run, "one request (p50)", kSky, [](const auto& level) {
    return level.distribution("user_tokens_per_second").p50;
  }));
  return panel;
}

ChartPanel latency_panel(const BenchRun& run) {
  ChartPanel panel{"milliseconds", {}};
  const auto add = [&](std::string name, const char* colour, const char* key,
                       double Distribution::*at) {
    panel.series.push_back(series_of(run, std::move(name), colour, [&](const auto& level) {
      return level.distribution(key).*at;
    }));
  };
  add("end to end p99", kRed, "e2e_ms", &Distribution::p99);
  add("end to end p50", kOrange, "e2e_ms", &Distribution::p50);
  add("first commit p99", kGreen, "ttfc_ms", &Distribution::p99);
  add("first commit p50", kBlue, "ttfc_ms", &Distribution::p50);
  return panel;
}

}  // namespace

std::string report_svg(const BenchRun& run) {
  Chart chart;
  chart.title = "Throughput and latency of " + run.server.value("model", "the model");
  chart.subtitle =
      run.machine.cpu + ", " + std::to_string(run.machine.cores) + " cores, " + run.time;
  bool has_rates = false;
  bool has_concurrency = false;
  for (const LevelSummary& level : run.summaries) {
    has_rates |= level.level.rate.has_value();
    has_concurrency |= level.level.concurrency.has_value();
  }
  chart.x_label = !has_rates         ? "requests at a time"
                  : !has_concurrency ? "arrivals per second"
                                     : "load: requests at a time, or arrivals per second";
  for (const LevelSummary& level : run.summaries) {
    const LoadLevel& load = level.level;
    const bool is_plain = has_rates != has_concurrency;
    chart.x_ticks.push_back(!is_plain          ? load.name()
                            : load.concurrency ? std::to_string(*load.concurrency)
                                               : number_text(load.rate.value_or(0.0)));
  }
  chart.panels = {throughput_panel(run), latency_panel(run)};
  return svg_of(chart);
}

}  // namespace tessera

#include "coordinator/cli/bench/server_figures.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include "common/base/error.h"

namespace tessera {
namespace {

/// Growth of all series of a family whose labels contain `label`.
class Growth {
 public:
  Growth(const MetricSeries& before, const MetricSeries& after) : before_(before), after_(after) {}

  double of(std::string_view family, std::string_view label = {}) const {
    double sum = 0.0;
    for_each(family, [&](std::string_view labels, double growth) {
      if (labels.find(label) != std::string_view::npos) sum += growth;
    });
    return sum;
  }

  template <typename Visit>
  void for_each(std::string_view family, Visit visit) const {
    for (auto series = after_.lower_bound(family); series != after_.end(); ++series) {
      std::string_view name = series->first;
      if (!name.starts_with(family)) return;
      name.remove_prefix(family.size());
      if (!name.empty() && name.front() != '{') continue;  // a longer name
      const auto old = before_.find(series->first);
      visit(name, series->second - (old == before_.end() ? 0.0 : old->second));
    }
  }

 private:
  const MetricSeries& before_;
  const MetricSeries& after_;
};

std::optional<double> ratio(double part, double whole) {
  if (whole <= 0.0) return std::nullopt;
  return part / whole;
}

/// Value of a label, e.g. of `phase` in {replica="0",phase="wire"}.
std::string label_value(std::string_view labels, std::string_view name) {
  const std::string start = std::string(name) + "=\"";
  const std::size_t at = labels.find(start);
  if (at == std::string_view::npos) return {};
  const std::size_t begin = at + start.size();
  return std::string(labels.substr(begin, labels.find('"', begin) - begin));
}

using Buckets = std::map<double, double>;  ///< Upper bound -> values up to it.

double bucket_percentile(const Buckets& buckets, double fraction) {
  const double wanted = fraction * buckets.rbegin()->second;
  double lower_bound = 0.0;
  double below = 0.0;
  for (const auto& [bound, up_to] : buckets) {
    if (up_to >= wanted && up_to > below) {
      if (bound > 1e30) return lower_bound;  // the bucket without an end
      return lower_bound + (bound - lower_bound) * (wanted - below) / (up_to - below);
    }
    lower_bound = bound;
    below = up_to;
  }
  return lower_bound;
}

std::map<std::string, PhaseTime> step_phases(const Growth& growth) {
  std::map<std::string, Buckets> by_phase;
  growth.for_each("tessera_step_seconds_bucket", [&](std::string_view labels, double count) {
    const double bound = std::strtod(label_value(labels, "le").c_str(), nullptr);
    by_phase[label_value(labels, "phase")][bound] += count;
  });
  std::map<std::string, PhaseTime> phases;
  for (const auto& [phase, buckets] : by_phase) {
    const double count = buckets.rbegin()->second;
    if (count <= 0.0) continue;
    const double sum = growth.of("tessera_step_seconds_sum", "phase=\"" + phase + "\"");
    phases[phase] = {sum / count * 1e6, bucket_percentile(buckets, 0.50) * 1e6,
                     bucket_percentile(buckets, 0.99) * 1e6};
  }
  return phases;
}

}  // namespace

MetricSeries parse_metrics(std::string_view page) {
  MetricSeries series;
  while (!page.empty()) {
    const std::size_t end = std::min(page.find('\n'), page.size());
    const std::string_view line = page.substr(0, end);
    page.remove_prefix(std::min(end + 1, page.size()));
    if (line.empty() || line.front() == '#') continue;
    // Labels may contain spaces; values may not.
    const std::size_t space = line.rfind(' ');
    TESSERA_CHECK_TRANSPORT(space != std::string_view::npos && space > 0,
                            "not a line of /metrics: ", line);
    const std::string value(line.substr(space + 1));
    char* value_end = nullptr;
    const double number = std::strtod(value.c_str(), &value_end);
    TESSERA_CHECK_TRANSPORT(!value.empty() && *value_end == '\0', "not a line of /metrics: ", line);
    series[std::string(line.substr(0, space))] = number;
  }
  return series;
}

std::optional<ServerFigures> server_figures(const MetricSeries& before, const MetricSeries& after) {
  if (!after.contains("tessera_engine_steps_total")) return std::nullopt;
  const Growth growth(before, after);
  ServerFigures figures;
  figures.engine_steps = growth.of("tessera_engine_steps_total");
  figures.output_tokens = growth.of("tessera_output_tokens_total");
  growth.for_each("tessera_request_forwards_total", [&](std::string_view labels, double count) {
    figures.forwards[label_value(labels, "phase")] += count;
  });
  const double store_only = figures.forwards["store_only"];
  const double decode = figures.forwards["denoise"] + store_only;
  figures.tokens_per_decode_forward = ratio(figures.output_tokens, decode);
  figures.store_bubble = ratio(store_only, decode);
  const std::string rows = "tessera_rows_total";
  const double masked = growth.of(rows, "kind=\"masked\"");
  const double decided = growth.of(rows, "kind=\"decided\"");
  figures.buffer_occupancy = ratio(masked + decided, growth.of("tessera_buffer_rows_total"));
  figures.waste = ratio(decided, growth.of(rows));
  figures.prefix_hit_rate = ratio(growth.of("tessera_prefix_hit_tokens_total"),
                                  growth.of("tessera_prefix_lookup_tokens_total"));
  figures.queue_ms = ratio(growth.of("tessera_request_queue_seconds_sum") * 1e3,
                           growth.of("tessera_request_queue_seconds_count"));
  figures.preemptions = growth.of("tessera_preemptions_total");
  figures.step_phases = step_phases(growth);
  return figures;
}

nlohmann::ordered_json to_json(const ServerFigures& figures) {
  const auto number = [](const std::optional<double>& value) {
    return value ? nlohmann::ordered_json(*value) : nlohmann::ordered_json();
  };
  nlohmann::ordered_json json = {
      {"engine_steps", figures.engine_steps},
      {"output_tokens", figures.output_tokens},
      {"request_forwards", figures.forwards},
      {"tokens_per_decode_forward", number(figures.tokens_per_decode_forward)},
      {"store_bubble", number(figures.store_bubble)},
      {"buffer_occupancy", number(figures.buffer_occupancy)},
      {"waste", number(figures.waste)},
      {"prefix_hit_rate", number(figures.prefix_hit_rate)},
      {"queue_ms", number(figures.queue_ms)},
      {"preemptions", figures.preemptions}};
  json["step_us"] = nlohmann::ordered_json::object();
  for (const auto& [phase, time] : figures.step_phases) {
    json["step_us"][phase] = {{"mean", time.mean_us}, {"p50", time.p50_us}, {"p99", time.p99_us}};
  }
  return json;
}

}  // namespace tessera

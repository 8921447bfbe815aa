#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace tessera {

/// Series of a Prometheus text page by name and labels, as written there:
/// `tessera_request_forwards_total{phase="prefill"}` -> 12.
using MetricSeries = std::map<std::string, double, std::less<>>;

/// @throws Error{kTransport} for a line that is neither a comment nor a series.
MetricSeries parse_metrics(std::string_view page);

/// One phase of the engine's steps in microseconds; percentiles interpolated within the buckets of
/// the server's histogram.
struct PhaseTime {
  double mean_us = 0.0;
  double p50_us = 0.0;
  double p99_us = 0.0;
};

/// What the server says of a level: the difference of two pages of /metrics. What clients cannot
/// see, and a check of what they count.
struct ServerFigures {
  double engine_steps = 0.0;
  double output_tokens = 0.0;              ///< Warm-up excluded, cut and cancelled text included.
  std::map<std::string, double> forwards;  ///< Request-forwards by phase.
  std::optional<double> tokens_per_decode_forward;  ///< Output over denoise and store-only ones.
  std::optional<double> store_bubble;      ///< Share of store-only in denoise and store-only ones.
  std::optional<double> buffer_occupancy;  ///< Rows in decode forwards over rows of full buffers.
  std::optional<double> waste;             ///< Share of rows computed though already decided.
  std::optional<double> prefix_hit_rate;   ///< Share of prompt tokens found in the cache.
  std::optional<double> queue_ms;          ///< Mean wait before the first step.
  double preemptions = 0.0;
  std::map<std::string, PhaseTime> step_phases;
};

/// None if the pages are not those of a Tessera server.
std::optional<ServerFigures> server_figures(const MetricSeries& before, const MetricSeries& after);

nlohmann::ordered_json to_json(const ServerFigures& figures);

}  // namespace tessera

#include "common/metrics/metric_families.h"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <limits>
#include <sstream>

namespace tessera {

prometheus::ClientMetric& MetricFamilies::add(const std::string& name,
                                              const std::string& help,
                                              prometheus::MetricType type,
                                              MetricLabels labels) {
  auto family = std::find_if(families_.begin(), families_.end(),
                             [&](const auto& other) { return other.name == name; });
  if (family == families_.end()) {
    families_.push_back({.name = name, .help = help, .type = type, .metric = {}});
    family = std::prev(families_.end());
  }
  prometheus::ClientMetric& metric = family->metric.emplace_back();
  for (auto& [label, value] : labels) metric.label.push_back({label, std::move(value)});
  return metric;
}

void MetricFamilies::counter(const std::string& name,
                             const std::string& help,
                             double value,
                             MetricLabels labels) {
  add(name, help, prometheus::MetricType::Counter, std::move(labels)).counter.value = value;
}

void MetricFamilies::gauge(const std::string& name,
                           const std::string& help,
                           double value,
                           MetricLabels labels) {
  add(name, help, prometheus::MetricType::Gauge, std::move(labels)).gauge.value = value;
}

void MetricFamilies::histogram(const std::string& name,
                               const std::string& help,
                               const LatencyHistogram& values,
                               MetricLabels labels) {
  auto& histogram = add(name, help, prometheus::MetricType::Histogram, std::move(labels)).histogram;
  histogram.sample_sum = values.sum_seconds;
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < values.counts.size(); ++i) {
    cumulative += values.counts[i];
    const bool is_last = i == LatencyHistogram::kBounds.size();
    histogram.bucket.push_back({cumulative, is_last ? std::numeric_limits<double>::infinity()
                                                    : LatencyHistogram::kBounds[i]});
  }
  histogram.sample_count = cumulative;
}

std::string exposition_text(const std::vector<prometheus::MetricFamily>& families) {
  std::ostringstream text;
  prometheus::TextSerializer().Serialize(text, families);
  return text.str();
}

}  // namespace tessera

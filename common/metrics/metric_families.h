#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "common/metrics/latency_histogram.h"

namespace tessera {

using MetricLabels = std::vector<std::pair<std::string, std::string>>;

/// Metric families made from values at the moment of a scrape, for numbers that live elsewhere:
/// nothing has to be kept in step with them.
///
/// Every family has help text; metrics of one family are added one after the other.
class MetricFamilies {
 public:
  void counter(const std::string& name,
               const std::string& help,
               double value,
               MetricLabels labels = {});
  void gauge(const std::string& name,
             const std::string& help,
             double value,
             MetricLabels labels = {});
  void histogram(const std::string& name,
                 const std::string& help,
                 const LatencyHistogram& values,
                 MetricLabels labels = {});

  const std::vector<prometheus::MetricFamily>& all() const noexcept { return families_; }

 private:
  prometheus::ClientMetric& add(const std::string& name,
                                const std::string& help,
                                prometheus::MetricType type,
                                MetricLabels labels);

  std::vector<prometheus::MetricFamily> families_;
};

/// Text exposition format 0.0.4, the one `promtool check metrics` reads.
std::string exposition_text(const std::vector<prometheus::MetricFamily>& families);

}  // namespace tessera

#pragma once

#include "common/metrics/metric_families.h"
#include "coordinator/request/cluster_metrics.h"

namespace tessera {

/// The engine's and the ranks' part of /metrics.
void add_cluster_families(const ClusterMetrics& metrics, MetricFamilies& families);

}  // namespace tessera

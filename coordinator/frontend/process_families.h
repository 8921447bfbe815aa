#pragma once

#include "common/metrics/metric_families.h"

namespace tessera {

/// What every Prometheus client reports of its own process: processor time, resident memory, open
/// descriptors, start. Read from /proc when it is called.
void add_process_families(MetricFamilies& families);

}  // namespace tessera

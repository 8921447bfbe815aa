#pragma once

#include <string>

#include "benchmarks/serving/overhead_load.h"

namespace tessera {

/// One streamed completion per request of the load, each on its own connection to `port` of
/// loopback; reads and throws away what comes until the server closes all of them. Sockets without
/// a parser: what clients cost must not be taken for the server's cost.
void read_streams(const OverheadLoad& load, const std::string& port);

}  // namespace tessera

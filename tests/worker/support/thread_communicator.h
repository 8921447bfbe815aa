#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "worker/comm/communicator.h"

namespace tessera {

/// Communicators of `size` ranks that are threads of this process. No time-outs: a rank that does
/// not come hangs the others.
std::vector<std::unique_ptr<Communicator>> thread_communicators(std::int32_t size);

}  // namespace tessera

#pragma once

#include "common/config/config.h"
#include "common/model_spec/memory_plan.h"

namespace tessera {

/// What each rank of the configuration needs.
/// @throws Error{kInvalidArgument} for a checkpoint that cannot be read or sharded this way.
MemoryPlan memory_plan_of(const ServerConfig& config);

/// `tessera check-config`: prints the configuration that flags and file result in, and the memory
/// each rank needs; with --reference, the reference of all keys instead.
/// @return The exit code.
int run_check_config(int argc, const char* const* argv);

}  // namespace tessera

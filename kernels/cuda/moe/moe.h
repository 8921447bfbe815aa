#pragma once

#include <cstdint>

#include "kernels/cuda/base/context.h"
#include "kernels/moe.h"

/// Contracts: kernels/ops.h. What moe_route() chose stays on the device: nothing here waits for it.
namespace tessera::kernels::cuda {

void moe_route(Context& context, const RouteArgs& args);

std::int64_t moe_workspace_bytes(const Context& context,
                                 const ExpertWeights& weights,
                                 std::int32_t experts_per_token,
                                 std::int64_t num_rows);

void moe_experts(Context& context, const MoeArgs& args);

}  // namespace tessera::kernels::cuda

#pragma once

#include "kernels/cuda/attention/attention_tile.cuh"
#include "kernels/cuda/device/launch.h"

namespace tessera::kernels::cuda {

/// A kernel whose CTAs share the items of a plan, each for every KV head.
struct AttentionVariant {
  void (*kernel)(AttentionKernelArgs) = nullptr;
  LaunchShape shape;    ///< Without the grid.
  int num_queries = 0;  ///< That an item may have.
};

/// Kernels on mma.sync. @param few_queries  Items of 64 queries where there is a choice.
AttentionVariant tile_variant(int head_dim, bool few_queries);

inline constexpr int kMaxWarpgroupHeadDim = 256;

/// Kernels on wgmma, for sm_90a alone.
AttentionVariant warpgroup_variant(int head_dim);

}  // namespace tessera::kernels::cuda

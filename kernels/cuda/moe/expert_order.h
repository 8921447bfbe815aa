#pragma once

#include <cstdint>

#include "kernels/cuda/base/context.h"

namespace tessera::kernels::cuda {

/// Up to TileShape::kTileRows slots of one expert: places [first, first + rows) of the order.
struct ExpertTile {
  int expert;
  int first;
  int rows;
};

/// The slots (row, choice) of a step by expert, and the tiles of a grouped product. Device memory.
/// Fixed by the choices alone: within an expert slots keep their order.
struct ExpertOrder {
  int* slots;         ///< [slots] slot at a place of the order
  int* rows;          ///< [slots] its row of the step
  ExpertTile* tiles;  ///< [max_tiles()]
  int* num_tiles;     ///< [1]
};

/// Tiles that `num_slots` slots of `num_experts` experts take at most.
std::int64_t max_expert_tiles(std::int64_t num_slots, std::int64_t num_experts);

/// @param experts  [num_slots] device; those outside of [first_expert, first_expert + num_experts)
///                 have no place in the order. ExpertTile counts from first_expert.
void order_by_expert(Context& context,
                     const std::int32_t* experts,
                     std::int64_t num_slots,
                     std::int32_t first_expert,
                     std::int32_t num_experts,
                     std::int32_t experts_per_token,
                     const ExpertOrder& order);

}  // namespace tessera::kernels::cuda

#pragma once

#include <cstdint>
#include <span>

#include "kernels/ops.h"

namespace tessera::kernels {

/// Temperature that the tempered distribution of a measure is taken at: 1 for greedy rows.
TESSERA_HOST_DEVICE inline float effective_temperature(const Measure& measure) {
  return measure.kind == MeasureKind::kGreedy || measure.temperature == 0.0F ? 1.0F
                                                                             : measure.temperature;
}

/// Sets excluded ids to -inf and subtracts the penalty. `row` holds ids [first_id, first_id +
/// size).
void exclude_ids(std::span<float> row,
                 TokenId first_id,
                 const VocabularyShard& vocabulary,
                 const Measure& measure);

/// Partial of one leaf of the vocabulary, in fp64 and ascending order. Ids at -inf do not count.
MeasurePartial measure_leaf(std::span<const float> row, TokenId first_id, const Measure& measure);

}  // namespace tessera::kernels

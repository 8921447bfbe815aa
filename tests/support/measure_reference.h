#pragma once

#include <span>

#include "common/decoding/measurement.h"
#include "common/decoding/model_facts.h"

namespace tessera {

/// Deviations from the contract that goldens of parity switches ask for.
struct MeasureRules {
  bool lowest_id_wins = false;   ///< Among equal logits; the contract is the highest.
  bool bf16_confidence = false;  ///< Confidences rounded to bf16, ties to even.
  bool may_choose_mask = false;  ///< The mask id is not excluded.
};

/// What `measure` asks of one row of logits, computed plainly in fp64.
/// @param logits  [facts.vocab_size], fp32
Measurement measure_reference(std::span<const float> logits,
                              const ModelFacts& facts,
                              const Measure& measure,
                              const MeasureRules& rules = {});

}  // namespace tessera

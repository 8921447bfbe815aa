#pragma once

#include <random>

#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"

namespace tessera::testing {

/// What the plans of one kind of strategy consist of.
enum class PlanShape {
  kMultiBd,         ///< block-causal rows, greedy and sampled measures, stores
  kD2f,             ///< prompt_full in the first pass
  kDmax,            ///< blend recipes of several ids
  kEdit,            ///< whole blocks measured, a penalised id
  kFastDllm,        ///< cache-only sub-blocks with a hole in the cache
  kDiffusionGemma,  ///< canvases, self-conditioning, alternatives
};

inline constexpr PlanShape kPlanShapes[] = {PlanShape::kMultiBd,  PlanShape::kD2f,
                                            PlanShape::kDmax,     PlanShape::kEdit,
                                            PlanShape::kFastDllm, PlanShape::kDiffusionGemma};

/// A plan with random values in every field that its shape uses.
StepPlan random_plan(PlanShape shape, std::mt19937_64& rng);

/// A result with random values in every field.
StepResult random_result(std::mt19937_64& rng);

}  // namespace tessera::testing

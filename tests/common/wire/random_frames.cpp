#include "tests/common/wire/random_frames.h"

#include <algorithm>
#include <cstdint>

namespace tessera::testing {
namespace {

using Rng = std::mt19937_64;

std::int32_t integer(Rng& rng, std::int32_t low, std::int32_t high) {
  return std::uniform_int_distribution<std::int32_t>(low, high)(rng);
}

float real(Rng& rng, float low, float high) {
  return std::uniform_real_distribution<float>(low, high)(rng);
}

EmbeddingRecipe random_recipe(Rng& rng) {
  EmbeddingRecipe recipe;
  recipe.kind = integer(rng, 0, 1) == 0 ? RecipeKind::kBlend : RecipeKind::kAdd;
  recipe.base_id = integer(rng, 0, 150000);
  recipe.num_ids = integer(rng, 1, EmbeddingRecipe::kMaxIds);
  for (int i = 0; i < recipe.num_ids; ++i) {
    recipe.ids[i] = integer(rng, 0, 150000);
    recipe.probabilities[i] = real(rng, 0.0F, 1.0F);
  }
  recipe.residual = real(rng, 0.0F, 1.0F);
  recipe.weight = real(rng, 0.0F, 2.0F);
  recipe.renormalize = integer(rng, 0, 1) == 1;
  return recipe;
}

MeasureKind kind_of(PlanShape shape, Rng& rng) {
  if (shape == PlanShape::kDiffusionGemma) return MeasureKind::kCanvas;
  return integer(rng, 0, 1) == 0 ? MeasureKind::kGreedy : MeasureKind::kSampled;
}

Measure random_measure(PlanShape shape, Position row, Rng& rng) {
  Measure measure;
  measure.kind = kind_of(shape, rng);
  measure.row = row;
  measure.position = row + integer(rng, 0, 1);
  measure.denoising_step = integer(rng, 0, 64);
  measure.temperature = real(rng, 0.0F, 2.0F);
  measure.top_p = real(rng, 0.1F, 1.0F);
  measure.top_k = integer(rng, 0, 100);
  measure.seed = rng();
  if (shape == PlanShape::kEdit) {
    measure.penalised_id = integer(rng, 0, 150000);
    measure.penalty = real(rng, 0.0F, 5.0F);
  }
  measure.num_alternatives = integer(rng, 0, 8);
  return measure;
}

void set_mask(PlanShape shape, Span& span, Rng& rng) {
  span.mask_block = 4 << integer(rng, 0, 3);
  switch (shape) {
    case PlanShape::kD2f:
      span.mask = MaskKind::kPromptFull;
      span.prompt_len = integer(rng, 1, 300);
      break;
    case PlanShape::kFastDllm:
      span.mask = MaskKind::kCacheOnly;
      span.cache_hole = {span.first, span.first + integer(rng, 0, 8)};
      break;
    case PlanShape::kDiffusionGemma:
      span.mask = integer(rng, 0, 1) == 0 ? MaskKind::kFull : MaskKind::kCausal;
      span.self_conditioning = true;
      break;
    default: span.mask = MaskKind::kBlockCausal; break;
  }
}

Span random_span(PlanShape shape, Rng& rng) {
  Span span;
  span.first = integer(rng, 0, 100000);
  const std::int32_t num_rows = integer(rng, 1, 96);
  for (int i = 0; i < num_rows; ++i) span.tokens.push_back(integer(rng, 0, 150000));
  span.cache_len = integer(rng, 0, span.first);
  set_mask(shape, span, rng);
  for (Position row = span.first; row < span.end(); ++row) {
    if (shape == PlanShape::kDmax && integer(rng, 0, 2) == 0) {
      span.recipes.push_back({row, random_recipe(rng)});
    }
    if (integer(rng, 0, 1) == 0) span.measures.push_back(random_measure(shape, row, rng));
  }
  for (Position row = span.first; row + 4 < span.end(); row += integer(rng, 5, 40)) {
    span.stores.push_back({row, row + integer(rng, 1, 4)});
  }
  return span;
}

}  // namespace

StepPlan random_plan(PlanShape shape, Rng& rng) {
  StepPlan plan;
  plan.epoch = rng();
  plan.step = rng();
  for (int i = integer(rng, 0, 3); i > 0; --i) plan.released.push_back(rng());
  for (int i = integer(rng, 0, 5); i > 0; --i) {
    PageTableDelta delta{rng(), integer(rng, 0, 1000), {}};
    for (int j = integer(rng, 0, 20); j > 0; --j) delta.pages.push_back(integer(rng, 0, 1 << 20));
    plan.page_table_deltas.push_back(std::move(delta));
  }
  for (int i = integer(rng, 0, 8); i > 0; --i) {
    plan.spans.push_back({rng(), random_span(shape, rng)});
  }
  return plan;
}

StepResult random_result(Rng& rng) {
  StepResult result;
  result.epoch = rng();
  result.step = rng();
  result.rank = integer(rng, 0, 7);
  result.timing = {real(rng, 0.0F, 1.0F), real(rng, 0.0F, 1.0F)};
  for (int i = integer(rng, 0, 6); i > 0; --i) {
    SpanResult span;
    span.request = rng();
    for (int j = integer(rng, 0, 40); j > 0; --j) {
      Measurement measurement;
      measurement.position = integer(rng, 0, 1 << 20);
      measurement.token = integer(rng, 0, 150000);
      measurement.confidence = real(rng, 0.0F, 1.0F);
      measurement.plain_confidence = real(rng, 0.0F, 1.0F);
      measurement.greedy_token = integer(rng, 0, 150000);
      measurement.entropy = real(rng, 0.0F, 10.0F);
      for (int k = integer(rng, 0, 8); k > 0; --k) {
        measurement.alternatives.push_back({integer(rng, 0, 150000), real(rng, 0.0F, 1.0F)});
      }
      span.measurements.push_back(std::move(measurement));
    }
    result.spans.push_back(std::move(span));
  }
  return result;
}

}  // namespace tessera::testing

#include "tests/support/golden_replay.h"

#include <algorithm>

#include "common/base/error.h"

namespace tessera {
namespace {

MaskKind mask_of(const Golden& golden, const GoldenStep& step) {
  if (golden.options.at("d2f_mask") == "static") return MaskKind::kPromptFull;
  if (step.mask == "block_causal") return MaskKind::kBlockCausal;
  if (step.mask == "d2f_prompt") return MaskKind::kPromptFull;
  if (step.mask == "cache_only") return MaskKind::kCacheOnly;
  if (step.mask == "causal") return MaskKind::kCausal;
  TESSERA_REQUIRE(step.mask == "canvas", "unknown mask ", step.mask);
  return MaskKind::kFull;
}

// The seed tokens of a dual cache are greedy whatever the temperature.
bool is_seed(const Golden& golden, const GoldenStep& step) {
  return golden.strategy == "fast_dllm_v2" &&
         (step.kind == "prefill" || step.kind == "final_commit");
}

}  // namespace

GoldenReplay::GoldenReplay(const Golden& golden) : golden_(golden), tokens_(golden.prompt) {}

TokenId GoldenReplay::token_at(Position position) const {
  const auto index = static_cast<std::size_t>(position);
  return index < tokens_.size() ? tokens_[index] : golden_.facts.mask_id.value();
}

Span GoldenReplay::span(const GoldenStep& step) const {
  Span span;
  span.first = step.rows.begin;
  span.cache_len = step.cache_len;
  span.mask = mask_of(golden_, step);
  span.mask_block = step.mask_block;
  if (span.mask == MaskKind::kPromptFull) {
    span.prompt_len = static_cast<std::int32_t>(golden_.prompt.size());
  }
  span.stores = step.stores;
  span.recipes = step.recipes;
  if (step.kind == "denoise") {
    span.tokens = step.canvas;
    span.self_conditioning = denoising_step_ > 0;
    for (Position q = span.first; q < span.end(); ++q) span.measures.push_back(canvas_measure(q));
    return span;
  }
  for (Position q = step.rows.begin; q < step.rows.end; ++q) span.tokens.push_back(token_at(q));
  for (const GoldenMeasured& measured : step.measured) {
    span.measures.push_back(measure(step, measured));
  }
  return span;
}

Measure GoldenReplay::measure(const GoldenStep& step, const GoldenMeasured& measured) const {
  const nlohmann::json& options = golden_.options;
  Measure measure;
  measure.row = measured.row;
  measure.position = measured.position;
  measure.denoising_step = measured.step;
  const SamplingParams sampling = golden_.sampling();
  if (sampling.temperature > 0.0F && !is_seed(golden_, step)) {
    measure.kind = MeasureKind::kSampled;
    measure.temperature = sampling.temperature;
    measure.top_p = sampling.top_p;
    measure.top_k = sampling.top_k;
    measure.seed = sampling.seed;
  }
  const float penalty = options.at("penalty_lambda");
  const bool opens_block = measured.position % options.at("block_size").get<int>() == 0;
  if (golden_.strategy == "edit" && penalty > 0.0F && !opens_block) {
    measure.penalised_id = token_at(measured.position - 1);
    measure.penalty = penalty;
  }
  measure.num_alternatives = static_cast<std::int32_t>(measured.alternatives.size());
  return measure;
}

Measure GoldenReplay::canvas_measure(Position position) const {
  const nlohmann::json& options = golden_.options;
  const double t_min = options.at("t_min");
  const double t_max = options.at("t_max");
  const double num_steps = options.at("max_denoising_steps");
  Measure measure;
  measure.kind = MeasureKind::kCanvas;
  measure.row = position;
  measure.position = position;
  measure.denoising_step = denoising_step_;
  measure.temperature = static_cast<float>(
      t_min + (t_max - t_min) * std::max(0.0, num_steps - denoising_step_) / num_steps);
  measure.seed = golden_.sampling().seed;
  return measure;
}

void GoldenReplay::advance(const GoldenStep& step) {
  const bool is_canvas_update = step.kind == "denoise" && step.to_cache.empty();
  denoising_step_ = is_canvas_update ? denoising_step_ + 1 : 0;
  if (is_canvas_update) return;
  for (const GoldenWrite& write : step.writes) {
    while (static_cast<Position>(tokens_.size()) <= write.position) {
      tokens_.push_back(golden_.facts.mask_id.value_or(0));
    }
    tokens_[static_cast<std::size_t>(write.position)] = write.token;
  }
}

std::vector<Measurement> recorded_measurements(const GoldenStep& step) {
  std::vector<Measurement> measurements;
  for (const GoldenMeasured& measured : step.measured) {
    Measurement m;
    m.position = measured.position;
    m.token = measured.token;
    m.confidence = m.plain_confidence = measured.confidence;
    m.alternatives = measured.alternatives;
    measurements.push_back(m);
  }
  for (std::size_t i = 0; i < step.greedy.size(); ++i) {
    Measurement m;
    m.position = step.rows.begin + static_cast<Position>(i);
    m.token = step.sampled.at(i);
    m.greedy_token = step.greedy[i];
    m.entropy = step.entropy.at(i);
    measurements.push_back(m);
  }
  return measurements;
}

}  // namespace tessera

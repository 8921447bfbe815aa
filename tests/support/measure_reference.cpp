#include "tests/support/measure_reference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "common/base/error.h"
#include "common/base/philox.h"

namespace tessera {
namespace {

constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

using Scores = std::vector<double>;

std::size_t num_ids(const Scores& scores) {
  return scores.size();
}

TokenId argmax(const Scores& scores, const MeasureRules& rules) {
  std::size_t best = 0;
  for (std::size_t id = 1; id < num_ids(scores); ++id) {
    if (scores[id] > scores[best] || (scores[id] == scores[best] && !rules.lowest_id_wins)) {
      best = id;
    }
  }
  return static_cast<TokenId>(best);
}

Scores log_softmax(const Scores& scores) {
  const double top = *std::max_element(scores.begin(), scores.end());
  double sum = 0.0;
  for (const double score : scores) sum += std::exp(score - top);
  Scores result(scores);
  for (double& score : result) score -= top + std::log(sum);
  return result;
}

/// Ids by descending score, then descending id.
std::vector<std::size_t> ranking(const Scores& scores) {
  std::vector<std::size_t> ids(scores.size());
  std::iota(ids.begin(), ids.end(), std::size_t{0});
  std::sort(ids.begin(), ids.end(), [&](std::size_t a, std::size_t b) {
    return scores[a] != scores[b] ? scores[a] > scores[b] : a > b;
  });
  return ids;
}

void keep_top_p(Scores& scores, double top_p) {
  if (top_p >= 1.0) return;
  const Scores log_probabilities = log_softmax(scores);
  const std::vector<std::size_t> ids = ranking(scores);
  double mass = std::exp(log_probabilities[ids[0]]);
  for (std::size_t i = 1; i < ids.size(); ++i) {
    mass += std::exp(log_probabilities[ids[i]]);
    if (mass > top_p) scores[ids[i]] = kMinusInfinity;
  }
}

void keep_top_k(Scores& scores, std::int32_t top_k) {
  if (top_k <= 0 || static_cast<std::size_t>(top_k) >= scores.size()) return;
  Scores sorted(scores);
  std::sort(sorted.begin(), sorted.end(), std::greater<>());
  const double threshold = sorted[static_cast<std::size_t>(top_k) - 1];
  for (double& score : scores) {
    if (score < threshold) score = kMinusInfinity;
  }
}

void add_gumbel(Scores& scores, const Measure& measure) {
  for (std::size_t id = 0; id < scores.size(); ++id) {
    scores[id] += gumbel_noise(measure.seed, measure.position, measure.denoising_step,
                               static_cast<TokenId>(id));
  }
}

float round_probability(double probability, const MeasureRules& rules) {
  const auto value = static_cast<float>(probability);
  if (!rules.bf16_confidence) return value;
  std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  bits += 0x7FFF + ((bits >> 16) & 1);
  return std::bit_cast<float>(bits & 0xFFFF0000U);
}

Scores allowed_logits(std::span<const float> logits,
                      const ModelFacts& facts,
                      const Measure& measure,
                      const MeasureRules& rules) {
  Scores scores(logits.begin(), logits.end());
  for (std::size_t id = 0; id < scores.size(); ++id) {
    const auto token = static_cast<TokenId>(id);
    const bool is_mask = facts.mask_id == token && !rules.may_choose_mask;
    if (token >= facts.tokenizer_size || is_mask) scores[id] = kMinusInfinity;
  }
  if (measure.penalised_id >= 0) {
    scores.at(static_cast<std::size_t>(measure.penalised_id)) -= measure.penalty;
  }
  return scores;
}

Measurement measure_token(const Scores& logits, const Measure& measure, const MeasureRules& rules) {
  const Scores plain = log_softmax(logits);
  Measurement result;
  result.position = measure.position;
  if (measure.kind == MeasureKind::kSampled) {
    Scores tempered(logits);
    for (double& score : tempered) score /= measure.temperature;
    keep_top_p(tempered, measure.top_p);
    keep_top_k(tempered, measure.top_k);
    Scores noisy(tempered);
    add_gumbel(noisy, measure);
    result.token = argmax(noisy, rules);
    const auto chosen = static_cast<std::size_t>(result.token);
    result.confidence = round_probability(std::exp(log_softmax(tempered)[chosen]), rules);
  } else {
    result.token = argmax(logits, rules);
  }
  const auto chosen = static_cast<std::size_t>(result.token);
  result.plain_confidence = round_probability(std::exp(plain[chosen]), rules);
  if (measure.kind == MeasureKind::kGreedy) result.confidence = result.plain_confidence;
  const std::vector<std::size_t> ids = ranking(plain);
  for (std::size_t i = 0; i < static_cast<std::size_t>(measure.num_alternatives); ++i) {
    result.alternatives.push_back(
        {static_cast<TokenId>(ids.at(i)), static_cast<float>(std::exp(plain[ids[i]]))});
  }
  return result;
}

Measurement measure_canvas(Scores logits, const Measure& measure, const MeasureRules& rules) {
  // z is an fp32 tensor: the worker keeps it and the self-conditioning is made of it.
  const float temperature = std::max(measure.temperature, 1e-10F);
  for (double& z : logits) z = static_cast<double>(static_cast<float>(z) / temperature);
  Measurement result;
  result.position = measure.position;
  double entropy = 0.0;
  for (const double log_probability : log_softmax(logits)) {
    const double probability = std::exp(log_probability);
    if (probability > 0.0) entropy -= probability * log_probability;
  }
  result.entropy = static_cast<float>(entropy);
  result.greedy_token = argmax(logits, rules);
  const Scores plain = log_softmax(logits);
  if (measure.temperature > 0.0F) add_gumbel(logits, measure);
  result.token = argmax(logits, rules);
  result.confidence = round_probability(std::exp(plain[result.token]), rules);
  result.plain_confidence = result.confidence;
  return result;
}

}  // namespace

Measurement measure_reference(std::span<const float> logits,
                              const ModelFacts& facts,
                              const Measure& measure,
                              const MeasureRules& rules) {
  TESSERA_CHECK(logits.size() == static_cast<std::size_t>(facts.vocab_size), "a row of ",
                logits.size(), " logits for a vocabulary of ", facts.vocab_size);
  TESSERA_CHECK(measure.kind != MeasureKind::kSampled || measure.temperature > 0.0F,
                "a sampled measurement at temperature ", measure.temperature);
  Scores allowed = allowed_logits(logits, facts, measure, rules);
  if (measure.kind == MeasureKind::kCanvas) return measure_canvas(allowed, measure, rules);
  return measure_token(allowed, measure, rules);
}

}  // namespace tessera

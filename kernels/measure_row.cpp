#include "kernels/measure_row.h"

#include <array>
#include <cmath>
#include <limits>

#include "common/base/philox.h"

namespace tessera::kernels {
namespace {

constexpr float kExcluded = -std::numeric_limits<float>::infinity();

// The score of an id, or -inf if its noise cannot lift it to `best`: -log u >= 1 - u, so a score
// of at least `best` needs 1 - u <= exp(t - best). Saves two logarithms for nearly every id.
double sampled_score(double t, double best, const Measure& measure, TokenId id, double uniform) {
  if (1.0 - uniform > 1.001 * std::exp(t - best)) return kMinusInfinity;
  return t + gumbel_noise(measure.seed, measure.position, measure.denoising_step, id);
}

void choose_sampled(std::span<const float> row,
                    TokenId first_id,
                    const Measure& measure,
                    MeasurePartial& partial) {
  std::array<std::uint32_t, 4> words{};
  std::uint32_t group = std::numeric_limits<std::uint32_t>::max();
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (!(row[i] > kExcluded)) continue;
    const TokenId id = first_id + static_cast<TokenId>(i);
    const auto c0 = static_cast<std::uint32_t>(id) >> 2;
    if (c0 != group) {
      group = c0;
      words = philox4x32_10(measure.seed, c0, measure.position, measure.denoising_step,
                            RandomStream::kToken);
    }
    const double t = static_cast<double>(row[i]) / measure.temperature;
    const double score = sampled_score(t, partial.score, measure, id,
                                       uniform_of_word(words[static_cast<std::uint32_t>(id) & 3U]));
    if (score > kMinusInfinity && score >= partial.score) {
      partial.score = score;
      partial.token = id;
      partial.logit = row[i];
    }
  }
}

}  // namespace

void exclude_ids(std::span<float> row,
                 TokenId first_id,
                 const VocabularyShard& vocabulary,
                 const Measure& measure) {
  for (std::size_t i = 0; i < row.size(); ++i) {
    const TokenId id = first_id + static_cast<TokenId>(i);
    if (id >= vocabulary.tokenizer_size || id == vocabulary.mask_id) {
      row[i] = kExcluded;
    } else if (id == measure.penalised_id) {
      row[i] -= measure.penalty;
    }
  }
}

MeasurePartial measure_leaf(std::span<const float> row, TokenId first_id, const Measure& measure) {
  MeasurePartial partial;
  partial.temperature = effective_temperature(measure);
  std::size_t best = 0;
  for (std::size_t i = 0; i < row.size(); ++i) {
    if (!(row[i] > kExcluded) || row[i] < partial.max_logit) continue;
    partial.max_logit = row[i];
    best = i;
    partial.greedy_token = first_id + static_cast<TokenId>(i);
  }
  if (partial.greedy_token < 0) return partial;
  for (const float logit : row) {
    if (!(logit > kExcluded)) continue;
    const double distance = logit - partial.max_logit;
    const double tempered = distance / partial.temperature;
    const double weight = std::exp(tempered);
    partial.plain_sum += std::exp(distance);
    partial.tempered_sum += weight;
    partial.tempered_weighted_sum += tempered * weight;
  }
  if (measure.kind == MeasureKind::kGreedy || measure.temperature == 0.0F) {
    partial.score = partial.max_logit;
    partial.token = partial.greedy_token;
    partial.logit = row[best];
  } else {
    choose_sampled(row, first_id, measure, partial);
  }
  return partial;
}

}  // namespace tessera::kernels

#include "kernels/measure_partial.h"

#include <cmath>

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

float probability(double distance, double sum) {
  return static_cast<float>(std::exp(distance) / sum);
}

}  // namespace

Measurement finish(const MeasurePartial& partial, const Measure& measure) {
  TESSERA_CHECK(partial.token >= 0 && std::isfinite(partial.max_logit) && partial.plain_sum >= 1.0,
                "no token can be chosen for position ", measure.position, ": largest logit ",
                partial.max_logit);
  const double distance = static_cast<double>(partial.logit) - partial.max_logit;
  Measurement result;
  result.position = measure.position;
  result.token = partial.token;
  result.greedy_token = partial.greedy_token;
  result.plain_confidence = probability(distance, partial.plain_sum);
  result.confidence = probability(distance / partial.temperature, partial.tempered_sum);
  if (measure.kind == MeasureKind::kCanvas) {
    result.entropy = static_cast<float>(std::log(partial.tempered_sum) -
                                        partial.tempered_weighted_sum / partial.tempered_sum);
  } else {
    result.greedy_token = 0;
  }
  return result;
}

}  // namespace tessera::kernels

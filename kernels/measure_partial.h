#pragma once

#include <cstdint>
#include <limits>

#include "common/base/host_device.h"
#include "common/base/types.h"
#include "common/decoding/measurement.h"
#include "kernels/exponential.h"

namespace tessera::kernels {

inline constexpr double kMinusInfinity = -std::numeric_limits<double>::infinity();

/// What part of the vocabulary says about one measured position. Plain data: ranks exchange it as
/// bytes. With l the fp32 logits after exclusion and penalty and t = l / temperature (t = l for
/// greedy rows), over the ids of the part:
struct MeasurePartial {
  double score = kMinusInfinity;       ///< max of t + noise (kGreedy, or temperature 0: of l)
  double max_logit = kMinusInfinity;   ///< max of l
  double plain_sum = 0.0;              ///< sum exp(l - max_logit)
  double tempered_sum = 0.0;           ///< sum exp(t - max t), over what top_p and top_k keep
  double tempered_weighted_sum = 0.0;  ///< sum (t - max t) exp(t - max t); kCanvas (entropy)
  float temperature = 1.0F;            ///< 1 for greedy rows
  float logit = 0.0F;                  ///< l of `token`
  TokenId token = -1;                  ///< id of `score`, the highest among equals; -1: none
  TokenId greedy_token = -1;           ///< id of `max_logit`, the highest among equals
};

/// Partial of the union of two disjoint parts, `left` with the lower ids. Choices do not depend on
/// how the vocabulary is cut; the sums follow the order of the merges, so equal bits need the
/// same tree (partition.h); they are the same on hosts and GPUs.
TESSERA_HOST_DEVICE inline MeasurePartial merge(const MeasurePartial& left,
                                                const MeasurePartial& right) {
  if (left.greedy_token < 0) return right;
  if (right.greedy_token < 0) return left;
  const bool right_chosen = right.token >= 0 && right.score >= left.score;
  const bool right_greedy = right.max_logit >= left.max_logit;
  const MeasurePartial& chosen = right_chosen ? right : left;
  const MeasurePartial& high = right_greedy ? right : left;
  const MeasurePartial& low = right_greedy ? left : right;
  const double distance = low.max_logit - high.max_logit;  // <= 0, finite
  const double tempered_distance = distance / high.temperature;
  const double tempered_scale = exponential(tempered_distance);
  MeasurePartial merged = high;
  merged.score = chosen.score;
  merged.token = chosen.token;
  merged.logit = chosen.logit;
  merged.plain_sum = high.plain_sum + rounded_product(low.plain_sum, exponential(distance));
  merged.tempered_sum = high.tempered_sum + rounded_product(low.tempered_sum, tempered_scale);
  const double weighted =
      low.tempered_weighted_sum + rounded_product(low.tempered_sum, tempered_distance);
  merged.tempered_weighted_sum =
      high.tempered_weighted_sum + rounded_product(weighted, tempered_scale);
  return merged;
}

/// The measurement that the partial of the whole vocabulary stands for. Alternatives are not in it.
/// @throws Error{kInternal} if every id was excluded or a logit is not a number.
Measurement finish(const MeasurePartial& partial, const Measure& measure);

}  // namespace tessera::kernels

#pragma once

#include <span>

#include "kernels/cuda/base/context.h"
#include "kernels/logit_passes.h"

/// Passes over stored logits; contracts: kernels/ops.h. A pass reads the logits once, and they stay
/// on the device: what goes to the host is a few kilobytes a row.
namespace tessera::kernels::cuda {

void logit_statistics(Context& context,
                      const StoredLogits& logits,
                      std::span<const Measure> measures,
                      std::span<LogitStatistics> statistics);

void count_digits(Context& context,
                  const StoredLogits& logits,
                  std::span<const DigitQuery> queries,
                  std::span<DigitBin> bins);

void drop_logits(Context& context, const StoredLogits& logits, std::span<const LogitKey> cuts);

}  // namespace tessera::kernels::cuda

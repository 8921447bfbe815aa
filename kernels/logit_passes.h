#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>

#include "common/base/host_device.h"
#include "common/base/types.h"
#include "common/decoding/measurement.h"
#include "common/tensor/matrix_view.h"
#include "kernels/exponential.h"
#include "kernels/measure_partial.h"

/// What filtered_measure.h reads stored logits for: the passes over them.
namespace tessera::kernels {

/// Logits as Backend::logits() leaves them: excluded ids at -inf.
struct StoredLogits {
  MatrixView rows;              ///< fp32 [measures, vocab_shard]
  std::int32_t row_leaves = 1;  ///< Leaves of the vocabulary that lie in the shard.
  TokenId first_id = 0;         ///< Id of column 0.
};

/// Place of an id in the order of the logits: larger logit, then larger id, is the larger key.
using LogitKey = std::uint64_t;

/// -0 ties with +0. Keys of logits above -inf are not 0.
TESSERA_HOST_DEVICE inline LogitKey key_of(float logit, TokenId id) {
  const auto bits = std::bit_cast<std::uint32_t>(logit + 0.0F);
  const std::uint32_t ordered = (bits & 0x80000000U) != 0 ? ~bits : bits | 0x80000000U;
  return (LogitKey{ordered} << 32) | static_cast<std::uint32_t>(id);
}

inline float logit_of(LogitKey key) {
  const auto ordered = static_cast<std::uint32_t>(key >> 32);
  return std::bit_cast<float>((ordered & 0x80000000U) != 0 ? ordered & 0x7FFFFFFFU : ~ordered);
}

/// Alternatives that a measure may ask for.
inline constexpr std::int32_t kMaxAlternatives = 8;

/// What a pass tells about a row: its partial, leaves in tree order, and the keys of its most
/// probable ids, descending, 0 behind the last. Keys only for measures with alternatives.
struct LogitStatistics {
  MeasurePartial partial;
  std::array<LogitKey, kMaxAlternatives> top{};
};

/// Keys of a row that a pass counts: those with `key >> shift >> 8` = prefix, by the digit below.
struct DigitQuery {
  LogitKey prefix = 0;
  double max_logit = 0.0;    ///< Of the row, over all ranks.
  float temperature = 1.0F;  ///< effective_temperature()
  std::int32_t shift = 0;
  bool active = false;  ///< else nothing of the row is counted
};

inline constexpr std::int32_t kNumDigits = 256;

/// Ids with one digit: how many, and the sum of their masses.
struct DigitBin {
  std::uint64_t count = 0;
  std::uint64_t mass = 0;
};

/// exp((l - max) / temperature) in fixed point: integers, so that sums are exact in any order. A
/// sum over 2^23 ids stays below 2^63.
TESSERA_HOST_DEVICE inline std::uint64_t mass_of(float logit, const DigitQuery& query) {
  const double distance = static_cast<double>(logit) - query.max_logit;
  return static_cast<std::uint64_t>(
      rounded_product(exponential(distance / query.temperature), 0x1p40));
}

// The passes in host memory, for back ends that compute there; contracts: Backend.

void logit_statistics_on_host(const StoredLogits& logits,
                              std::span<const Measure> measures,
                              std::span<LogitStatistics> statistics);
void count_digits_on_host(const StoredLogits& logits,
                          std::span<const DigitQuery> queries,
                          std::span<DigitBin> bins);
void drop_logits_on_host(const StoredLogits& logits, std::span<const LogitKey> cuts);

/// Merges the most probable ids of another part of the vocabulary into `top`.
void merge_top(std::array<LogitKey, kMaxAlternatives>& top,
               const std::array<LogitKey, kMaxAlternatives>& other);

}  // namespace tessera::kernels

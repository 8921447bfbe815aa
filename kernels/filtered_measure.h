#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "common/decoding/measurement.h"
#include "kernels/ops.h"

namespace tessera::kernels {

/// The ranks that share a vocabulary, as the measurement sees them. Every rank makes the same calls
/// with the same sizes.
class ShardGroup {
 public:
  virtual ~ShardGroup() = default;

  virtual std::int32_t num_shards() const = 0;

  /// values = sum over ranks, element by element (wraps).
  virtual void sum(std::span<std::uint64_t> values) = 0;

  /// all = the bytes of rank 0, rank 1, ...; all.size() = mine.size() * num_shards().
  virtual void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) = 0;
};

/// True for rows that need their logits stored: top_p, top_k or alternatives.
bool needs_logits(const Measure& measure);

std::int64_t filtered_measure_workspace_bytes(std::int64_t num_rows, std::int32_t num_shards);

/// Measures rows whose logits are stored (Backend::logits), with top_p, top_k and alternatives
/// exactly as common/decoding/measurement.h and for any sharding with the same result:
///
/// 1. leaf statistics (max, sums, most probable ids), merged in tree order;
/// 2. radix select on the key (ordered fp32 logit, id), eight bits a round, over histograms of
///    counts and of 64-bit fixed-point masses exp(t - max t), summed over ranks as integers. The
///    cut of top_p is the first key, descending, whose inclusive cumulative mass exceeds
///    top_p * total (never the first key); then top_k cuts at the k-th largest logit, ties survive;
/// 3. score, token and tempered sum over the keys that are left, merged in tree order.
///
/// Rounds are skipped while no row needs them: top_p takes up to eight, top_k four.
///
/// The passes over the logits are the back end's: the logits stay in its memory.
///
/// @param logits      consumed: dropped ids become -inf
/// @param workspace   host memory, filtered_measure_workspace_bytes()
/// @param results     [measures] out, equal on every rank. The `alternatives` of a result keep
///                    their capacity: reserve kMaxAlternatives once and a step allocates nothing.
void filtered_measure(Backend& backend,
                      const StoredLogits& logits,
                      std::span<const Measure> measures,
                      ShardGroup& group,
                      std::span<std::byte> workspace,
                      std::span<Measurement> results);

}  // namespace tessera::kernels

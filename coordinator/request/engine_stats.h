#pragma once

#include <cstdint>
#include <vector>

#include "common/base/types.h"

namespace tessera {

/// What one replica is doing now.
struct ReplicaLoad {
  ReplicaId id = 0;
  std::int32_t num_running = 0;
  std::int64_t pages_free = 0;
  std::int64_t pages_active = 0;
  std::int64_t pages_cached = 0;  ///< Unreferenced, kept for reuse.
};

/// Totals since the start and gauges of now; what /metrics exports.
struct EngineStats {
  std::uint64_t steps = 0;
  std::uint64_t prompt_tokens_computed = 0;
  std::uint64_t prompt_tokens_cached = 0;
  std::uint64_t output_tokens = 0;
  std::uint64_t forwards_prefill = 0;  ///< Request-forwards with prompt rows; each chunk counts.
  std::uint64_t forwards_denoise = 0;
  std::uint64_t forwards_store_only = 0;
  std::uint64_t forwards_rebuild = 0;
  std::uint64_t rows_prompt = 0;   ///< Rows computed for prompts, their first time.
  std::uint64_t rows_masked = 0;   ///< Rows that were measured.
  std::uint64_t rows_decided = 0;  ///< Rows of output whose token was decided before.
  std::uint64_t rows_buffer = 0;  ///< Rows that the same forwards would have had with full buffers.
  std::uint64_t preemptions = 0;
  std::uint64_t prefix_lookup_tokens = 0;
  std::uint64_t prefix_hit_tokens = 0;
  std::uint64_t page_evictions = 0;
  std::int32_t num_running = 0;
  std::int32_t num_waiting = 0;
  std::vector<ReplicaLoad> replicas;  ///< Those that take steps, by id.
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <vector>

#include "common/decoding/span.h"
#include "tests/support/hash_executor.h"

namespace tessera {

/// Runs the spans of one sequence on a hash executor and gives it pages as it grows. Page ids run
/// backwards, so that a position is never its own slot by accident.
class SpanRunner {
 public:
  SpanRunner(const ModelFacts& facts,
             std::uint64_t seed,
             std::int32_t page_size,
             const MeasureRules& rules = {});

  std::vector<Measurement> run(const Span& span);

  /// Runs leading rows as pieces of `piece_rows` first, as a scheduler may.
  /// @param piece_rows  A multiple of the strategy's chunk quantum.
  std::vector<Measurement> run_in_pieces(const Span& span, std::int32_t piece_rows);

  /// Loses all K/V, as when a replica dies.
  void lose_pages();

 private:
  HashExecutor executor_;
  std::int32_t page_size_;
  std::int32_t num_pages_held_ = 0;
  std::uint64_t epoch_ = 1;
  std::uint64_t step_ = 0;
};

}  // namespace tessera

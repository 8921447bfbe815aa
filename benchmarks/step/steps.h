#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "benchmarks/step/step_floor.h"
#include "worker/runtime/rank_executor.h"

namespace tessera::benchmarks {

/// A directory with a config.json alone, of a preset of make-model. Removed at the end.
class ModelDirectory {
 public:
  explicit ModelDirectory(const std::string& preset);
  ~ModelDirectory();
  ModelDirectory(const ModelDirectory&) = delete;
  ModelDirectory& operator=(const ModelDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Plans of steps of sequences whose contexts are cached once.
class Steps {
 public:
  static constexpr std::int32_t kPageSize = 32;

  /// @param measured  Whether denoising steps measure their rows, all of them, greedily.
  Steps(std::int32_t context, bool measured) : context_(context), measured_(measured) {}

  /// What ranks must be configured for.
  RankConfig config(std::int32_t max_sequences, std::int32_t max_step_rows) const;

  /// Caches positions [first, first + count) of sequence `index`, whose pages come with the first.
  StepPlan prefill(std::int32_t index, std::int32_t first, std::int32_t count);

  StepPlan denoise(const StepShape& shape);

 private:
  StepPlan next();
  Span rows(Position first, std::int32_t count) const;

  std::int32_t context_;
  bool measured_;
  std::uint64_t step_ = 0;
};

/// What steps of one shape took.
struct StepTimes {
  StepShape shape;
  std::vector<double> seconds;      ///< Of each step, ascending.
  double collective_seconds = 0.0;  ///< Of the median step, on rank 0.

  double median() const { return seconds[seconds.size() / 2]; }
};

/// Runs `count` steps behind a few that do not count.
StepTimes time_steps(RankExecutor& rank, Steps& steps, const StepShape& shape, std::int32_t count);

}  // namespace tessera::benchmarks

#pragma once

#include <cstdint>
#include <iosfwd>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/cli/bench/bench_options.h"
#include "coordinator/cli/bench/bench_report.h"
#include "coordinator/cli/bench/problem.h"
#include "coordinator/cli/client/http_client.h"

namespace tessera {

/// The levels of one run against one server, each after its warm-up. One thread.
class BenchSession {
 public:
  /// @param progress  Where a bar is drawn; null for none.
  BenchSession(const BenchOptions& options, const ServerUrl& server, std::ostream* progress);

  /// Everything but time and machine. Levels share their prompts when they come from a file;
  /// random ones are new for each.
  /// @throws Error{kInvalidArgument} if the server does not answer before the first level.
  BenchRun run() const;

 private:
  LevelResult run_level(const LoadLevel& level, std::size_t index) const;
  std::vector<Problem> problems_for(std::size_t level, std::int32_t count, bool is_warmup) const;
  nlohmann::ordered_json describe_server() const;
  nlohmann::ordered_json describe_workload() const;
  MetricSeries scrape() const;
  HttpAnswer fetch(const std::string& target, const std::string& body = "") const;
  std::vector<std::int32_t> word_tokens() const;

  const BenchOptions& options_;
  HttpCall base_;
  std::ostream* progress_;
  SystemClock clock_;
  std::vector<Problem> dataset_;          ///< Empty for random prompts.
  std::vector<std::int32_t> vocabulary_;  ///< Of random prompts.
};

}  // namespace tessera

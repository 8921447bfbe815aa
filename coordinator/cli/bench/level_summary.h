#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coordinator/cli/bench/distribution.h"
#include "coordinator/cli/bench/request_trace.h"
#include "coordinator/cli/bench/server_figures.h"

namespace tessera {

/// How hard the server is pressed: either so many requests at a time (closed loop), or so many
/// arrivals a second (open loop).
struct LoadLevel {
  std::optional<std::int32_t> concurrency;
  std::optional<double> rate;

  std::string name() const;  ///< "16 at a time", "2.5/s"
};

/// What a request must keep to count as good; unset limits are kept by all.
struct ServiceObjective {
  std::optional<double> ttfc_ms;
  std::optional<double> icl_p95_ms;  ///< Kept by requests with one commit.
  std::optional<double> tpot_ms;     ///< The same.
  std::optional<double> e2e_ms;

  bool is_set() const { return ttfc_ms || icl_p95_ms || tpot_ms || e2e_ms; }
};

/// Reads "ttfc=500,icl_p95=100,tpot=20,e2e=2000" (milliseconds).
/// @throws Error{kInvalidArgument}
ServiceObjective parse_objective(std::string_view text);

bool is_good(const RequestFigures& figures, const ServiceObjective& objective);

/// Everything a level measured, before it is summed up.
struct LevelResult {
  LoadLevel level;
  Duration wall{};  ///< From the start to the end of the last request.
  std::vector<RequestTrace> requests;
  std::optional<ServerFigures> server;
};

struct FailureCount {
  std::int32_t count = 0;
  std::string example;  ///< Message of the first one.
};

struct Score {
  std::int32_t num_right = 0;
  std::int32_t num_graded = 0;

  double percent() const { return num_graded == 0 ? 0.0 : 100.0 * num_right / num_graded; }
};

/// A set of values with the name it has in reports.
struct NamedDistribution {
  std::string_view key;    ///< "ttfc_ms"
  std::string_view title;  ///< "Time to first commit (ms)"
  Distribution values;
};

struct LevelSummary {
  LoadLevel level;
  double wall_seconds = 0.0;
  std::int32_t num_requests = 0;
  std::int32_t num_ok = 0;
  std::map<std::string, FailureCount> failures;  ///< By kind.
  std::optional<Score> accuracy;                 ///< None without answers to compare with.
  std::map<std::string, Score> accuracy_by_task;

  double requests_per_second = 0.0;  ///< Successful ones, like all rates.
  std::optional<double> goodput;     ///< Good requests per second, if there is an objective.
  double output_tokens_per_second = 0.0;
  double total_tokens_per_second = 0.0;  ///< Prompts included.
  double tokens_per_request = 0.0;
  std::optional<double> nfe_per_request;     ///< Forwards, the prompt's included.
  std::optional<double> tokens_per_forward;  ///< Sum of tokens over sum of forwards.
  std::int32_t num_single_commit = 0;        ///< Requests without inter-commit times and TPOT.

  std::vector<NamedDistribution> distributions;
  std::optional<ServerFigures> server;

  const Distribution& distribution(std::string_view key) const;
};

LevelSummary summarize(const LevelResult& result, const ServiceObjective& objective);

/// Index of the knee of a sweep: the first level that reaches 90 % of the best output throughput.
std::size_t knee_of(const std::vector<LevelSummary>& levels);

}  // namespace tessera

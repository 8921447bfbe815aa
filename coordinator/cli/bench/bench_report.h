#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "coordinator/cli/bench/bench_options.h"
#include "coordinator/cli/bench/level_summary.h"
#include "coordinator/cli/bench/machine_facts.h"

namespace tessera {

/// What was measured, on what, with what: everything a report is made of.
struct BenchRun {
  MachineFacts machine;
  std::string time;                 ///< UTC, "2026-11-24T19:49:04Z"
  nlohmann::ordered_json server;    ///< URL, version, and what /v1/models says.
  nlohmann::ordered_json workload;  ///< Data set with its hash, or lengths of random prompts.
  std::vector<LevelResult> levels;
  std::vector<LevelSummary> summaries;  ///< One per level.
};

/// Everything, each request included. "schema" changes with the meaning of a field.
nlohmann::ordered_json report_json(const BenchRun& run, const BenchOptions& options);

/// Tables for people: one line per level, then each level's distributions, the server's own
/// figures, accuracy by task and failures by kind.
std::string report_markdown(const BenchRun& run);

/// SVG of throughput and latency against the load, see svg_chart.h.
std::string report_svg(const BenchRun& run);

}  // namespace tessera

#include <map>
#include <set>
#include <sstream>

#include "coordinator/cli/bench/bench_report.h"
#include "coordinator/cli/bench/markdown_table.h"

namespace tessera {
namespace {

std::string number_or_dash(const std::optional<double>& value) {
  return value ? number_text(*value) : "-";
}

std::string percent_or_dash(const std::optional<double>& share) {
  return share ? number_text(*share * 100.0) + " %" : "-";
}

/// "p50 / p90 / p99", or a dash for what no request defines.
std::string spread(const Distribution& values) {
  if (values.count == 0) return "-";
  return number_text(values.p50) + " / " + number_text(values.p90) + " / " +
         number_text(values.p99);
}

std::string score_text(const std::optional<Score>& score) {
  return score ? number_text(score->percent()) + " %" : "-";
}

std::string overview(const BenchRun& run) {
  MarkdownTable table({"load", "requests", "failed", "accuracy", "requests/s", "goodput/s",
                       "output tok/s", "tok/s of a request", "TTFC ms p50 / p90 / p99",
                       "ICL ms p50 / p90 / p99", "tokens/commit", "e2e ms p50 / p90 / p99", "TPF"});
  for (const LevelSummary& level : run.summaries) {
    table.add({level.level.name(), std::to_string(level.num_requests),
               std::to_string(level.num_requests - level.num_ok), score_text(level.accuracy),
               number_text(level.requests_per_second), number_or_dash(level.goodput),
               number_text(level.output_tokens_per_second),
               number_text(level.distribution("user_tokens_per_second").p50),
               spread(level.distribution("ttfc_ms")), spread(level.distribution("icl_ms")),
               number_text(level.distribution("commit_tokens").mean),
               spread(level.distribution("e2e_ms")), number_or_dash(level.tokens_per_forward)});
  }
  return table.text();
}

std::string details(const LevelSummary& level) {
  std::ostringstream out;
  out << "\n## " << level.level.name() << "\n\n"
      << level.num_ok << " of " << level.num_requests << " requests in "
      << number_text(level.wall_seconds) << " s, " << number_text(level.total_tokens_per_second)
      << " tokens/s with prompts; " << level.num_single_commit
      << " came in one commit and have no ICL and no TPOT.\n\n";
  MarkdownTable table(
      {"per request or commit", "count", "mean", "p50", "p90", "p95", "p99", "max"});
  for (const NamedDistribution& named : level.distributions) {
    const Distribution& values = named.values;
    if (values.count == 0) continue;
    table.add({std::string(named.title), std::to_string(values.count), number_text(values.mean),
               number_text(values.p50), number_text(values.p90), number_text(values.p95),
               number_text(values.p99), number_text(values.max)});
  }
  out << table.text();
  return out.str();
}

std::string server_table(const BenchRun& run) {
  MarkdownTable table({"load", "engine steps", "output tokens", "prefill", "denoise", "store-only",
                       "bubble", "tokens per decode forward", "buffer occupancy", "waste",
                       "prefix hits", "queue ms", "preemptions"});
  bool is_empty = true;
  for (const LevelSummary& level : run.summaries) {
    if (!level.server) continue;
    is_empty = false;
    const ServerFigures& server = *level.server;
    const auto forwards = [&](const char* phase) {
      const auto found = server.forwards.find(phase);
      return number_text(found == server.forwards.end() ? 0.0 : found->second);
    };
    table.add({level.level.name(), number_text(server.engine_steps),
               number_text(server.output_tokens), forwards("prefill"), forwards("denoise"),
               forwards("store_only"), percent_or_dash(server.store_bubble),
               number_or_dash(server.tokens_per_decode_forward),
               percent_or_dash(server.buffer_occupancy), percent_or_dash(server.waste),
               percent_or_dash(server.prefix_hit_rate), number_or_dash(server.queue_ms),
               number_text(server.preemptions)});
  }
  return is_empty ? "" : "\n## What the server counted\n\n" + table.text();
}

/// A table with a line per name and a column per level. `cell` gives the text of a level for a
/// name; names come from `names_of`, of any level.
template <typename NamesOf, typename Cell>
std::string table_by_level(const BenchRun& run,
                           const std::string& corner,
                           NamesOf names_of,
                           Cell cell) {
  std::vector<std::string> header = {corner};
  std::set<std::string> names;
  for (const LevelSummary& level : run.summaries) {
    header.push_back(level.level.name());
    for (const auto& [name, value] : names_of(level)) names.insert(name);
  }
  if (names.empty()) return "";
  MarkdownTable table(std::move(header));
  for (const std::string& name : names) {
    std::vector<std::string> cells = {name};
    for (const LevelSummary& level : run.summaries) {
      const auto& values = names_of(level);
      const auto found = values.find(name);
      cells.push_back(found == values.end() ? "-" : cell(found->second));
    }
    table.add(std::move(cells));
  }
  return table.text();
}

std::string step_table(const BenchRun& run) {
  const auto phases_of = [](const LevelSummary& level) {
    return level.server ? level.server->step_phases : std::map<std::string, PhaseTime>{};
  };
  const std::string table =
      table_by_level(run, "us of a step: mean / p50 / p99", phases_of, [](const PhaseTime& time) {
        return number_text(time.mean_us) + " / " + number_text(time.p50_us) + " / " +
               number_text(time.p99_us);
      });
  return table.empty() ? "" : "\n" + table;
}

std::string accuracy_table(const BenchRun& run) {
  const std::string table = table_by_level(
      run, "right answers by task",
      [](const LevelSummary& level) -> const auto& { return level.accuracy_by_task; },
      [](const Score& score) {
        return std::to_string(score.num_right) + " of " + std::to_string(score.num_graded);
      });
  return table.empty() ? "" : "\n## Accuracy\n\n" + table;
}

std::string failure_table(const BenchRun& run) {
  MarkdownTable table({"load", "failure", "requests", "first message"});
  bool is_empty = true;
  for (const LevelSummary& level : run.summaries) {
    for (const auto& [kind, failure] : level.failures) {
      is_empty = false;
      table.add({level.level.name(), kind, std::to_string(failure.count),
                 failure.example.substr(0, 200)});
    }
  }
  return is_empty ? "" : "\n## Failures\n\n" + table.text();
}

}  // namespace

std::string report_markdown(const BenchRun& run) {
  std::ostringstream out;
  out << "# " << run.server.value("model", "model") << ", " << run.time << "\n\n"
      << "On " << run.machine.cpu << ", " << run.machine.cores << " cores.\n\n"
      << overview(run);
  if (run.summaries.size() > 1) {
    out << "\nKnee (first load with 90 % of the best throughput): "
        << run.summaries[knee_of(run.summaries)].level.name() << ".\n";
  }
  for (const LevelSummary& level : run.summaries) out << details(level);
  out << server_table(run) << step_table(run) << accuracy_table(run) << failure_table(run);
  return out.str();
}

}  // namespace tessera

#include "coordinator/cli/bench/level_summary.h"

#include <algorithm>
#include <charconv>
#include <functional>

#include "common/base/error.h"

namespace tessera {
namespace {

struct LimitName {
  std::string_view name;
  std::optional<double> ServiceObjective::*limit;
};

constexpr LimitName kLimits[] = {{"ttfc", &ServiceObjective::ttfc_ms},
                                 {"icl_p95", &ServiceObjective::icl_p95_ms},
                                 {"tpot", &ServiceObjective::tpot_ms},
                                 {"e2e", &ServiceObjective::e2e_ms}};

void parse_limit(std::string_view item, ServiceObjective& objective) {
  const std::size_t equals = std::min(item.find('='), item.size());
  const auto* limit = std::ranges::find(kLimits, item.substr(0, equals), &LimitName::name);
  const std::string_view text = item.substr(std::min(equals + 1, item.size()));
  double value = 0.0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  TESSERA_REQUIRE(limit != std::end(kLimits) && error == std::errc{} &&
                      end == text.data() + text.size() && value > 0.0,
                  "objective \"", item,
                  "\"; allowed: ttfc, icl_p95, tpot or e2e = milliseconds above 0");
  objective.*(limit->limit) = value;
}

bool is_kept(const std::optional<double>& value, const std::optional<double>& limit) {
  return !limit || !value || *value <= *limit;
}

/// The values of all requests, one list per figure.
struct Columns {
  std::vector<double> ttfc, first_commit, icl, icl_p95, commit, tpot, e2e, speed, nfe, tpf, tokens;

  void add(const RequestTrace& trace, const RequestFigures& figures) {
    const auto add_to = [](std::vector<double>& column, const std::optional<double>& value) {
      if (value) column.push_back(*value);
    };
    add_to(ttfc, figures.ttfc_ms);
    add_to(first_commit, figures.first_commit_tokens);
    icl.insert(icl.end(), figures.icl_ms.begin(), figures.icl_ms.end());
    if (!figures.icl_ms.empty()) icl_p95.push_back(distribution_of(figures.icl_ms).p95);
    commit.insert(commit.end(), figures.commit_tokens.begin(), figures.commit_tokens.end());
    add_to(tpot, figures.tpot_ms);
    e2e.push_back(figures.e2e_ms);
    speed.push_back(figures.tokens_per_second);
    add_to(nfe, figures.nfe);
    add_to(tpf, figures.tokens_per_forward);
    tokens.push_back(static_cast<double>(trace.usage.completion_tokens));
  }

  std::vector<NamedDistribution> distributions() const {
    return {
        {"ttfc_ms", "Time to first commit (ms)", distribution_of(ttfc)},
        {"first_commit_tokens", "Tokens in the first commit", distribution_of(first_commit)},
        {"icl_ms", "Inter-commit latency (ms)", distribution_of(icl)},
        {"icl_p95_ms", "p95 of a request's inter-commit latencies (ms)", distribution_of(icl_p95)},
        {"commit_tokens", "Tokens per commit", distribution_of(commit)},
        {"tpot_ms", "Time per token behind the first commit (ms)", distribution_of(tpot)},
        {"e2e_ms", "End to end (ms)", distribution_of(e2e)},
        {"user_tokens_per_second", "Tokens per second of a request", distribution_of(speed)},
        {"output_tokens", "Output tokens of a request", distribution_of(tokens)},
        {"nfe", "Forwards of a request", distribution_of(nfe)},
        {"tokens_per_forward", "Tokens per forward of a request", distribution_of(tpf)}};
  }
};

/// "word.farm" and "word.taxi" are one line of a report.
std::string task_group(const std::string& task) {
  return task.substr(0, task.find('.'));
}

void count_score(const RequestTrace& trace, LevelSummary& summary) {
  if (!trace.is_right) return;
  if (!summary.accuracy) summary.accuracy.emplace();
  for (Score* score : {&*summary.accuracy, &summary.accuracy_by_task[task_group(trace.task)]}) {
    ++score->num_graded;
    score->num_right += *trace.is_right ? 1 : 0;
  }
}

void count_failure(const RequestTrace& trace, LevelSummary& summary) {
  FailureCount& failure = summary.failures[trace.failure];
  if (failure.count++ == 0) failure.example = trace.failure_detail;
}

}  // namespace

std::string LoadLevel::name() const {
  if (concurrency) return std::to_string(*concurrency) + " at a time";
  return detail::concat(rate.value_or(0.0), "/s");
}

ServiceObjective parse_objective(std::string_view text) {
  ServiceObjective objective;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    parse_limit(text.substr(0, comma), objective);
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  return objective;
}

bool is_good(const RequestFigures& figures, const ServiceObjective& objective) {
  std::optional<double> icl_p95;
  if (!figures.icl_ms.empty()) icl_p95 = distribution_of(figures.icl_ms).p95;
  return is_kept(figures.ttfc_ms, objective.ttfc_ms) && is_kept(icl_p95, objective.icl_p95_ms) &&
         is_kept(figures.tpot_ms, objective.tpot_ms) && is_kept(figures.e2e_ms, objective.e2e_ms);
}

const Distribution& LevelSummary::distribution(std::string_view key) const {
  const auto found = std::ranges::find(distributions, key, &NamedDistribution::key);
  TESSERA_CHECK(found != distributions.end(), "no distribution ", key);
  return found->values;
}

LevelSummary summarize(const LevelResult& result, const ServiceObjective& objective) {
  LevelSummary summary;
  summary.level = result.level;
  summary.wall_seconds = std::chrono::duration<double>(result.wall).count();
  summary.num_requests = static_cast<std::int32_t>(result.requests.size());
  summary.server = result.server;
  Columns columns;
  double output_tokens = 0.0, prompt_tokens = 0.0, forwards = 0.0, num_good = 0.0;
  for (const RequestTrace& trace : result.requests) {
    if (!trace.is_ok()) {
      count_failure(trace, summary);
      continue;
    }
    const RequestFigures figures = figures_of(trace);
    columns.add(trace, figures);
    count_score(trace, summary);
    ++summary.num_ok;
    output_tokens += static_cast<double>(trace.usage.completion_tokens);
    prompt_tokens += static_cast<double>(trace.usage.prompt_tokens);
    forwards += figures.nfe.value_or(0.0);
    num_good += is_good(figures, objective) ? 1.0 : 0.0;
    summary.num_single_commit += trace.commits.size() <= 1 ? 1 : 0;
  }
  summary.distributions = columns.distributions();
  const double wall = summary.wall_seconds;
  if (objective.is_set()) summary.goodput = num_good / wall;
  if (summary.num_ok == 0) return summary;

  summary.requests_per_second = summary.num_ok / wall;
  summary.output_tokens_per_second = output_tokens / wall;
  summary.total_tokens_per_second = (output_tokens + prompt_tokens) / wall;
  summary.tokens_per_request = output_tokens / summary.num_ok;
  if (forwards > 0.0) {
    summary.nfe_per_request = forwards / summary.num_ok;
    summary.tokens_per_forward = output_tokens / forwards;
  }
  return summary;
}

std::size_t knee_of(const std::vector<LevelSummary>& levels) {
  TESSERA_CHECK(!levels.empty(), "a sweep of no levels");
  const double best = std::ranges::max(levels, {}, &LevelSummary::output_tokens_per_second)
                          .output_tokens_per_second;
  const auto knee = std::ranges::find_if(levels, [&](const LevelSummary& level) {
    return level.output_tokens_per_second >= 0.9 * best;
  });
  return static_cast<std::size_t>(knee - levels.begin());
}

}  // namespace tessera

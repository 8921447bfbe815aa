#include "common/config/config.h"
#include "coordinator/cli/bench/bench_report.h"

namespace tessera {
namespace {

using nlohmann::ordered_json;

template <typename T>
ordered_json optional_json(const std::optional<T>& value) {
  return value ? ordered_json(*value) : ordered_json();
}

ordered_json score_json(const Score& score) {
  return {{"right", score.num_right}, {"graded", score.num_graded}, {"percent", score.percent()}};
}

ordered_json distribution_json(const Distribution& values) {
  return {{"count", values.count}, {"mean", values.mean}, {"p50", values.p50}, {"p90", values.p90},
          {"p95", values.p95},     {"p99", values.p99},   {"max", values.max}};
}

ordered_json commits_json(const std::vector<Commit>& commits) {
  ordered_json list = ordered_json::array();
  for (const Commit& commit : commits) {
    list.push_back({{"at_ms", milliseconds(commit.at)}, {"tokens", commit.num_tokens}});
  }
  return list;
}

ordered_json request_json(const RequestTrace& trace) {
  ordered_json json = {{"id", trace.id}, {"task", trace.task}, {"due_ms", milliseconds(trace.due)}};
  json["e2e_ms"] = milliseconds(trace.ended);
  json["output"] = trace.text;
  json["commits"] = commits_json(trace.commits);
  if (!trace.is_ok()) {
    json["failure"] = {{"kind", trace.failure}, {"message", trace.failure_detail}};
    return json;
  }
  const RequestFigures figures = figures_of(trace);
  json["finish_reason"] = trace.finish_reason;
  json["right"] = optional_json(trace.is_right);
  json["prompt_tokens"] = trace.usage.prompt_tokens;
  json["cached_tokens"] = trace.usage.cached_tokens;
  json["output_tokens"] = trace.usage.completion_tokens;
  json["nfe"] = optional_json(figures.nfe);
  json["tokens_per_forward"] = optional_json(figures.tokens_per_forward);
  json["ttfc_ms"] = optional_json(figures.ttfc_ms);
  json["first_commit_tokens"] = optional_json(figures.first_commit_tokens);
  json["icl_ms"] = figures.icl_ms;
  json["tpot_ms"] = optional_json(figures.tpot_ms);
  json["tokens_per_second"] = figures.tokens_per_second;
  return json;
}

ordered_json summary_json(const LevelSummary& level) {
  ordered_json json = {{"concurrency", optional_json(level.level.concurrency)},
                       {"rate", optional_json(level.level.rate)},
                       {"wall_seconds", level.wall_seconds},
                       {"requests", level.num_requests},
                       {"ok", level.num_ok},
                       {"failures", ordered_json::array()}};
  for (const auto& [kind, failure] : level.failures) {
    json["failures"].push_back(
        {{"kind", kind}, {"count", failure.count}, {"example", failure.example}});
  }
  json["accuracy"] = level.accuracy ? score_json(*level.accuracy) : ordered_json();
  json["accuracy_by_task"] = ordered_json::object();
  for (const auto& [task, score] : level.accuracy_by_task) {
    json["accuracy_by_task"][task] = score_json(score);
  }
  json["requests_per_second"] = level.requests_per_second;
  json["goodput"] = optional_json(level.goodput);
  json["output_tokens_per_second"] = level.output_tokens_per_second;
  json["total_tokens_per_second"] = level.total_tokens_per_second;
  json["tokens_per_request"] = level.tokens_per_request;
  json["nfe_per_request"] = optional_json(level.nfe_per_request);
  json["tokens_per_forward"] = optional_json(level.tokens_per_forward);
  json["single_commit_requests"] = level.num_single_commit;
  json["distributions"] = ordered_json::object();
  for (const NamedDistribution& named : level.distributions) {
    json["distributions"][std::string(named.key)] = distribution_json(named.values);
  }
  json["server"] = level.server ? to_json(*level.server) : ordered_json();
  return json;
}

ordered_json request_options_json(const RequestOptions& request) {
  return {{"model", request.model},
          {"max_tokens", optional_json(request.max_tokens)},
          {"temperature", optional_json(request.temperature)},
          {"top_p", optional_json(request.top_p)},
          {"top_k", optional_json(request.top_k)},
          {"seed", optional_json(request.seed)},
          {"ignore_eos", request.ignore_eos},
          {"decoding", request.decoding}};
}

ordered_json objective_json(const ServiceObjective& objective) {
  return {{"ttfc_ms", optional_json(objective.ttfc_ms)},
          {"icl_p95_ms", optional_json(objective.icl_p95_ms)},
          {"tpot_ms", optional_json(objective.tpot_ms)},
          {"e2e_ms", optional_json(objective.e2e_ms)}};
}

}  // namespace

ordered_json report_json(const BenchRun& run, const BenchOptions& options) {
  ordered_json report = {{"schema", "tessera.bench/1"},
                         {"tessera_version", version()},
                         {"time", run.time},
                         {"machine", to_json(run.machine)},
                         {"server", run.server},
                         {"serve_arguments", options.serve_arguments},
                         {"workload", run.workload},
                         {"request", request_options_json(options.request)},
                         {"warmup_requests", options.num_warmup},
                         {"load_seed", options.load_seed},
                         {"objective", objective_json(options.objective)},
                         {"levels", ordered_json::array()}};
  for (std::size_t i = 0; i < run.levels.size(); ++i) {
    ordered_json level = summary_json(run.summaries[i]);
    level["traces"] = ordered_json::array();
    for (const RequestTrace& trace : run.levels[i].requests) {
      level["traces"].push_back(request_json(trace));
    }
    report["levels"].push_back(std::move(level));
  }
  if (!run.summaries.empty()) report["knee"] = knee_of(run.summaries);
  return report;
}

}  // namespace tessera

#include "coordinator/frontend/cluster_families.h"

#include <string>
#include <string_view>

namespace tessera {
namespace {

void add_tokens(const EngineStats& stats, MetricFamilies& families) {
  const auto as_double = [](auto value) { return static_cast<double>(value); };
  const std::string prompt = "tessera_prompt_tokens_total";
  const std::string prompt_help = "Prompt tokens by where their K/V came from.";
  families.counter(prompt, prompt_help, as_double(stats.prompt_tokens_computed),
                   {{"source", "computed"}});
  families.counter(prompt, prompt_help, as_double(stats.prompt_tokens_cached),
                   {{"source", "cached"}});
  families.counter("tessera_output_tokens_total", "Output tokens that became final.",
                   as_double(stats.output_tokens));
  families.counter("tessera_prefix_lookup_tokens_total",
                   "Prompt tokens that were looked up in the prefix cache.",
                   as_double(stats.prefix_lookup_tokens));
  families.counter("tessera_prefix_hit_tokens_total", "Prompt tokens that the prefix cache held.",
                   as_double(stats.prefix_hit_tokens));
}

void add_work(const EngineStats& stats, MetricFamilies& families) {
  const auto as_double = [](auto value) { return static_cast<double>(value); };
  families.counter("tessera_engine_steps_total", "Steps sent to replicas.", as_double(stats.steps));
  const std::string forwards = "tessera_request_forwards_total";
  const std::string help =
      "Forward passes counted per request and step. Tokens per forward is output tokens over the "
      "sum of denoise and store_only.";
  families.counter(forwards, help, as_double(stats.forwards_prefill), {{"phase", "prefill"}});
  families.counter(forwards, help, as_double(stats.forwards_denoise), {{"phase", "denoise"}});
  families.counter(forwards, help, as_double(stats.forwards_store_only), {{"phase", "store_only"}});
  families.counter(forwards, help, as_double(stats.forwards_rebuild), {{"phase", "rebuild"}});
  const std::string rows = "tessera_rows_total";
  const std::string rows_help =
      "Rows computed, rebuilds excluded, by what was known of their token.";
  families.counter(rows, rows_help, as_double(stats.rows_prompt), {{"kind", "prompt"}});
  families.counter(rows, rows_help, as_double(stats.rows_masked), {{"kind", "masked"}});
  families.counter(rows, rows_help, as_double(stats.rows_decided), {{"kind", "decided"}});
  families.counter("tessera_buffer_rows_total",
                   "Rows that the forwards of output would have had with full buffers.",
                   as_double(stats.rows_buffer));
  families.counter("tessera_preemptions_total",
                   "Times a running request lost its pages to another one.",
                   as_double(stats.preemptions));
  for (const ReplicaLoad& load : stats.replicas) {
    families.gauge("tessera_requests_running", "Sequences in the running set.", load.num_running,
                   {{"replica", std::to_string(load.id)}});
  }
  families.gauge("tessera_requests_waiting", "Sequences that wait to run.", stats.num_waiting);
}

void add_pages(const EngineStats& stats, MetricFamilies& families) {
  const std::string pages = "tessera_kv_pages";
  const std::string help = "K/V pages by state; cached ones are unused and kept for reuse.";
  for (const ReplicaLoad& load : stats.replicas) {
    const auto add = [&](const char* state, std::int64_t count) {
      families.gauge(pages, help, static_cast<double>(count),
                     {{"replica", std::to_string(load.id)}, {"state", state}});
    };
    add("free", load.pages_free);
    add("active", load.pages_active);
    add("cached", load.pages_cached);
  }
  families.counter("tessera_kv_page_evictions_total", "Cached pages that were given away.",
                   static_cast<double>(stats.page_evictions));
}

void add_rank(const RankMetrics& rank, const std::string& replica, MetricFamilies& families) {
  const MetricLabels labels = {{"replica", replica}, {"rank", std::to_string(rank.status.rank)}};
  families.gauge("tessera_rank_up", "1 while the rank answers.", rank.status.up ? 1 : 0, labels);
  families.gauge("tessera_rank_heartbeat_age_seconds", "Time since the rank was last heard.",
                 std::chrono::duration<double>(rank.status.heartbeat_age).count(), labels);
  families.counter("tessera_rank_compute_seconds_total",
                   "Time the rank computed, collectives excluded.", rank.compute_seconds, labels);
  families.counter("tessera_rank_collective_seconds_total",
                   "Time the rank spent in collectives, waiting for other ranks included.",
                   rank.collective_seconds, labels);
}

void add_replica(const ReplicaMetrics& replica, MetricFamilies& families) {
  const std::string id = std::to_string(replica.id);
  families.counter("tessera_replica_restarts_total",
                   "Times the replica was torn down and started again.",
                   static_cast<double>(replica.num_restarts), {{"replica", id}});
  for (std::size_t phase = 0; phase < kStepPhaseNames.size(); ++phase) {
    families.histogram("tessera_step_seconds", "Time of an engine step by phase.",
                       replica.step_seconds[phase],
                       {{"replica", id}, {"phase", std::string(kStepPhaseNames[phase])}});
  }
  for (const RankMetrics& rank : replica.ranks) add_rank(rank, id, families);
}

}  // namespace

void add_cluster_families(const ClusterMetrics& metrics, MetricFamilies& families) {
  for (std::size_t i = 0; i < kServerStateNames.size(); ++i) {
    families.gauge("tessera_server_state", "1 for the state the server is in.",
                   static_cast<std::size_t>(metrics.state) == i ? 1 : 0,
                   {{"state", std::string(kServerStateNames[i])}});
  }
  add_tokens(metrics.engine, families);
  add_work(metrics.engine, families);
  add_pages(metrics.engine, families);
  for (const ReplicaMetrics& replica : metrics.replicas) add_replica(replica, families);
}

}  // namespace tessera

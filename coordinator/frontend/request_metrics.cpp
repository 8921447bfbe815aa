#include "coordinator/frontend/request_metrics.h"

namespace tessera {
namespace {

using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kQueueBuckets = {.001, .005, .01, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60};
const Buckets kFirstCommitBuckets = {.01, .025, .05, .075, .1, .15, .2, .3, .5,
                                     .75, 1,    1.5, 2.5,  5,  10,  30, 60};
const Buckets kInterCommitBuckets = {.002, .005, .01, .02, .03, .05, .075,
                                     .1,   .15,  .25, .5,  1,   2.5, 5};
const Buckets kE2eBuckets = {.1, .25, .5, 1, 2, 3, 5, 7.5, 10, 15, 20, 30, 60, 120, 300};
const Buckets kCommitTokenBuckets = {1, 2, 4, 8, 12, 16, 24, 32, 64, 128, 256};
const Buckets kTokenBuckets = {1,   2,    5,    10,   20,    50,    100,   200,
                               500, 1000, 2000, 5000, 10000, 20000, 50000, 100000};
const Buckets kForwardBuckets = {1, 2, 5, 10, 20, 50, 100, 200, 500, 1000};
const Buckets kTokensPerForwardBuckets = {1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32};

double seconds(Duration duration) {
  return std::chrono::duration<double>(duration).count();
}

prometheus::Family<prometheus::Counter>* counters(prometheus::Registry& registry,
                                                  const char* name,
                                                  const char* help) {
  return &prometheus::BuildCounter().Name(name).Help(help).Register(registry);
}

// From 0 on, or rate() would miss the first event of a label value.
void begin_at_zero(prometheus::Family<prometheus::Counter>& family,
                   const char* label,
                   std::initializer_list<const char*> values) {
  for (const char* value : values) family.Add({{label, value}});
}

prometheus::Family<prometheus::Histogram>& histograms(prometheus::Registry& registry,
                                                      const char* name,
                                                      const char* help) {
  return prometheus::BuildHistogram().Name(name).Help(help).Register(registry);
}

}  // namespace

RequestMetrics::RequestMetrics()
    : http_requests_(
          counters(registry_, "tessera_http_requests_total", "HTTP requests by route and status.")),
      requests_(counters(registry_,
                         "tessera_requests_total",
                         "Accepted generation requests by outcome, each counted once.")),
      stop_details_(counters(
          registry_, "tessera_request_stop_details_total", "Finished choices by what ended them.")),
      rejected_(counters(registry_,
                         "tessera_requests_rejected_total",
                         "Generation requests refused before they ran, by error code.")),
      stream_bytes_(&counters(registry_,
                              "tessera_stream_bytes_total",
                              "Bytes of event streams handed to connections.")
                         ->Add({})),
      connections_(&prometheus::BuildGauge()
                        .Name("tessera_http_connections")
                        .Help("Open connections.")
                        .Register(registry_)
                        .Add({})) {
  begin_at_zero(*requests_, "outcome", {"stop", "length", "cancelled", "timeout", "error"});
  begin_at_zero(*stop_details_, "detail",
                {"eos", "stop_string", "max_tokens", "max_nfe", "repetition", "context"});
  begin_at_zero(*rejected_, "reason",
                {"queue_full", "draining", "loading", "engine_failed", "rank_lost",
                 "deadline_exceeded", "context_length_exceeded", "invalid_value", "missing_field",
                 "unsupported_parameter", "malformed_json", "model_not_found", "internal"});
  queue_seconds_ = &histograms(registry_, "tessera_request_queue_seconds",
                               "From submission to the first step that contains the request.")
                        .Add({}, kQueueBuckets);
  auto& first_commit = histograms(registry_, "tessera_time_to_first_commit_seconds",
                                  "From arrival to the first final token, by stream or not.");
  for (const int is_stream : {0, 1}) {
    first_commit_seconds_[is_stream] =
        &first_commit.Add({{"stream", std::to_string(is_stream)}}, kFirstCommitBuckets);
  }
  inter_commit_seconds_ = &histograms(registry_, "tessera_inter_commit_seconds",
                                      "Between two steps that made tokens of a choice final.")
                               .Add({}, kInterCommitBuckets);
  commit_tokens_ = &histograms(registry_, "tessera_commit_tokens",
                               "Tokens of a choice that one step made final.")
                        .Add({}, kCommitTokenBuckets);
  e2e_seconds_ =
      &histograms(registry_, "tessera_request_e2e_seconds", "From arrival to the last token.")
           .Add({}, kE2eBuckets);
  prompt_tokens_ = &histograms(registry_, "tessera_request_prompt_tokens", "Prompt tokens.")
                        .Add({}, kTokenBuckets);
  cached_tokens_ = &histograms(registry_, "tessera_request_cached_tokens",
                               "Prompt tokens found in the prefix cache.")
                        .Add({}, kTokenBuckets);
  output_tokens_ =
      &histograms(registry_, "tessera_request_output_tokens", "Output tokens over all choices.")
           .Add({}, kTokenBuckets);
  forward_passes_ = &histograms(registry_, "tessera_request_forward_passes",
                                "Forward passes (NFE) over all choices.")
                         .Add({}, kForwardBuckets);
  tokens_per_forward_ = &histograms(registry_, "tessera_request_tokens_per_forward",
                                    "Output tokens per forward pass of a request.")
                             .Add({}, kTokensPerForwardBuckets);
}

void RequestMetrics::count_http(std::string_view route, int status) {
  http_requests_->Add({{"route", std::string(route)}, {"code", std::to_string(status)}})
      .Increment();
}

void RequestMetrics::count_rejection(std::string_view code) {
  rejected_->Add({{"reason", std::string(code)}}).Increment();
}

void RequestMetrics::observe_first_commit(bool is_stream, Duration since_arrival) {
  first_commit_seconds_[is_stream ? 1 : 0]->Observe(seconds(since_arrival));
}

void RequestMetrics::observe_commit(Duration since_last, std::int64_t num_tokens) {
  inter_commit_seconds_->Observe(seconds(since_last));
  commit_tokens_->Observe(static_cast<double>(num_tokens));
}

void RequestMetrics::observe_finished(const RequestSummary& summary) {
  requests_->Add({{"outcome", std::string(summary.outcome)}}).Increment();
  if (!summary.detail.empty()) {
    stop_details_->Add({{"detail", std::string(summary.detail)}}).Increment();
  }
  queue_seconds_->Observe(seconds(summary.queued));
  e2e_seconds_->Observe(seconds(summary.total));
  prompt_tokens_->Observe(static_cast<double>(summary.prompt_tokens));
  cached_tokens_->Observe(static_cast<double>(summary.cached_tokens));
  output_tokens_->Observe(static_cast<double>(summary.output_tokens));
  forward_passes_->Observe(static_cast<double>(summary.num_steps));
  if (summary.num_steps > 0) {
    tokens_per_forward_->Observe(static_cast<double>(summary.output_tokens) /
                                 static_cast<double>(summary.num_steps));
  }
}

}  // namespace tessera

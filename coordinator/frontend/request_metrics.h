#pragma once

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <cstdint>
#include <string>
#include <string_view>

#include "common/base/clock.h"

namespace tessera {

/// One finished request, for metrics and the log.
struct RequestSummary {
  std::string_view outcome;      ///< "stop", "length", "cancelled", "timeout" or "error".
  std::string_view detail = {};  ///< "eos", "stop_string", ...; empty unless it finished.
  Duration queued{};
  Duration total{};
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t num_steps = 0;
};

/// What the front end itself counts and times. Owned by the server's thread.
class RequestMetrics {
 public:
  RequestMetrics();

  void count_http(std::string_view route, int status);
  void count_rejection(std::string_view code);
  void observe_first_commit(bool is_stream, Duration since_arrival);
  void observe_commit(Duration since_last, std::int64_t num_tokens);
  void observe_finished(const RequestSummary& summary);
  void count_stream_bytes(std::size_t bytes) {
    stream_bytes_->Increment(static_cast<double>(bytes));
  }
  void set_connections(std::int32_t open) { connections_->Set(open); }

  prometheus::Registry& registry() noexcept { return registry_; }

 private:
  prometheus::Registry registry_;
  prometheus::Family<prometheus::Counter>* http_requests_;
  prometheus::Family<prometheus::Counter>* requests_;
  prometheus::Family<prometheus::Counter>* stop_details_;
  prometheus::Family<prometheus::Counter>* rejected_;
  prometheus::Counter* stream_bytes_;
  prometheus::Gauge* connections_;
  prometheus::Histogram* queue_seconds_;
  prometheus::Histogram* first_commit_seconds_[2];  ///< By is_stream.
  prometheus::Histogram* inter_commit_seconds_;
  prometheus::Histogram* commit_tokens_;
  prometheus::Histogram* e2e_seconds_;
  prometheus::Histogram* prompt_tokens_;
  prometheus::Histogram* cached_tokens_;
  prometheus::Histogram* output_tokens_;
  prometheus::Histogram* forward_passes_;
  prometheus::Histogram* tokens_per_forward_;
};

}  // namespace tessera

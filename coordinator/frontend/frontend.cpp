#include "coordinator/frontend/frontend.h"

#include <cstdio>

#include "coordinator/frontend/api_routes.h"
#include "coordinator/frontend/http/http_server.h"

namespace tessera {

class Frontend::Impl {
 public:
  Impl(FrontendOptions options, const Clock& clock) : options_(std::move(options)), clock_(clock) {
    default_decoding(options_.model);  // the first request must not be the one to find out
  }

  ~Impl() { stop(); }

  void start(EngineClient& engine, std::function<ClusterMetrics()> cluster_metrics) {
    const GenerationServices services{
        engine, sequences_, metrics_, clock_,
        [this](const std::string& id, const RequestSummary& summary) { log(id, summary); }};
    routes_ = std::make_unique<ApiRoutes>(
        options_, services, std::move(cluster_metrics),
        [this](auto work) { server_->post_background(std::move(work)); });
    server_ = std::make_unique<HttpServer>(
        options_.limits, *routes_, [this](std::int32_t open) { metrics_.set_connections(open); });
    server_->start(options_.host, options_.port);
  }

  std::uint16_t port() const { return server_->port(); }

  void on_updates(std::vector<SequenceUpdate> updates) {
    if (!server_) return;
    server_->post([this, batch = std::move(updates)] { sequences_.dispatch(batch); });
  }

  void drain() {
    if (routes_) routes_->drain();
  }

  void fail_open(const SequenceFailure& failure) {
    if (server_) server_->post([this, failure] { sequences_.fail_all(failure); });
  }

  bool wait_idle(std::chrono::milliseconds timeout) {
    return !server_ || server_->wait_idle(timeout);
  }

  void stop() {
    if (server_) server_->stop();
  }

 private:
  void log(const std::string& id, const RequestSummary& summary) const {
    if (!options_.log) return;
    const auto ms = [](Duration d) { return std::chrono::duration<double, std::milli>(d).count(); };
    char text[320];
    std::snprintf(text, sizeof(text),
                  "request %.128s %.*s prompt=%lld cached=%lld output=%lld nfe=%lld "
                  "queue_ms=%.1f e2e_ms=%.1f",
                  id.c_str(), static_cast<int>(summary.outcome.size()), summary.outcome.data(),
                  static_cast<long long>(summary.prompt_tokens),
                  static_cast<long long>(summary.cached_tokens),
                  static_cast<long long>(summary.output_tokens),
                  static_cast<long long>(summary.num_steps), ms(summary.queued), ms(summary.total));
    options_.log(text);
  }

  FrontendOptions options_;
  const Clock& clock_;
  SequenceTable sequences_;
  RequestMetrics metrics_;
  std::unique_ptr<ApiRoutes> routes_;
  std::unique_ptr<HttpServer> server_;
};

Frontend::Frontend(FrontendOptions options, const Clock& clock)
    : impl_(std::make_unique<Impl>(std::move(options), clock)) {}

Frontend::~Frontend() = default;

void Frontend::start(EngineClient& engine, std::function<ClusterMetrics()> cluster_metrics) {
  impl_->start(engine, std::move(cluster_metrics));
}

std::uint16_t Frontend::port() const {
  return impl_->port();
}

void Frontend::on_updates(std::vector<SequenceUpdate> updates) {
  impl_->on_updates(std::move(updates));
}

void Frontend::drain() {
  impl_->drain();
}

void Frontend::fail_open(const SequenceFailure& failure) {
  impl_->fail_open(failure);
}

bool Frontend::wait_idle(std::chrono::milliseconds timeout) {
  return impl_->wait_idle(timeout);
}

void Frontend::stop() {
  impl_->stop();
}

}  // namespace tessera

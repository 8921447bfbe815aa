#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/frontend/http/http_limits.h"
#include "coordinator/frontend/openai/served_model.h"
#include "coordinator/request/cluster_metrics.h"
#include "coordinator/request/engine_client.h"

namespace tessera {

struct FrontendOptions {
  std::string host = "127.0.0.1";  ///< Address, not a name.
  std::uint16_t port = 8080;       ///< 0 takes any free one.
  HttpLimits limits;
  std::vector<std::string> api_keys;  ///< Empty: open to everyone who can connect.
  ServedModel model;
  std::chrono::milliseconds request_timeout{0};  ///< From arrival to the last token; 0 is none.
  std::uint64_t seed = 0;  ///< Of the generator of missing request seeds and of request ids.
  std::string version;     ///< Of this build, for /version.
  std::function<std::int64_t()> unix_seconds;   ///< Wall clock, for `created` fields alone.
  std::function<void(const std::string&)> log;  ///< Takes one line; called on the server's thread.
};

/// The HTTP server of a coordinator: OpenAI routes, streams, health, metrics and the page.
///
/// One thread of its own serves all connections; a second one prepares long prompts. The engine
/// thread calls on_updates, which never blocks. A slow client costs the text it has not taken yet,
/// at most its own answer; one that goes away is cancelled at once.
///
/// Order of use, from the thread of `main`:
///
///     Frontend frontend(options, clock);        // the engine's UpdateSink
///     frontend.start(engine, cluster_metrics);  // binds, serves; a cluster that is not ready
///                                               // yet is answered with 503 loading
///     frontend.drain();                         // new work: 503 draining; /health/ready: 503
///     frontend.wait_idle(timeout);              // open requests finish
///     frontend.stop();                          // closes everything, joins the threads
///
/// Nothing is lost when the engine is destroyed only after stop(). Routes: docs/api.md.
class Frontend final : public UpdateSink {
 public:
  /// @throws Error{kInvalidArgument} if the defaults of options.model do not give a strategy that
  ///         fits the model and the page size.
  Frontend(FrontendOptions options, const Clock& clock);

  /// Stops, if that was not done.
  ~Frontend() override;

  /// @param engine           Outlives stop().
  /// @param cluster_metrics  Called on the server's thread at each scrape; must not block.
  /// @throws Error{kInvalidArgument} if the address cannot be bound.
  void start(EngineClient& engine, std::function<ClusterMetrics()> cluster_metrics);

  /// The port that is bound; after start().
  std::uint16_t port() const;

  void on_updates(std::vector<SequenceUpdate> updates) override;

  /// Refuses new work from now on; what was accepted goes on. Any thread.
  void drain();

  /// Ends every open request: the engine cannot do that any more. Any thread.
  void fail_open(const SequenceFailure& failure);

  /// Waits until no request is open.
  /// @return  Whether that was reached before the timeout.
  bool wait_idle(std::chrono::milliseconds timeout);

  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera

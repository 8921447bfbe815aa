#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/frontend/http/http_limits.h"
#include "coordinator/frontend/http/pending_response.h"

namespace tessera {

/// HTTP/1.1 over TCP: connections, limits, timeouts, streams. Knows nothing of what it serves.
///
/// All connections are coroutines on one thread of its own; the handler and every pending response
/// live there.
class HttpServer {
 public:
  /// @param handler        Outlives the server.
  /// @param on_connections  Told the number of open connections when it changes.
  HttpServer(const HttpLimits& limits,
             RequestHandler& handler,
             std::function<void(std::int32_t)> on_connections);
  ~HttpServer();

  /// Binds and serves. @throws Error{kInvalidArgument} if the address cannot be bound.
  void start(const std::string& host, std::uint16_t port);
  std::uint16_t port() const;

  /// Runs `task` on the server's thread, in order. Any thread; never blocks.
  void post(std::function<void()> task);

  /// Runs `work` on a thread for long computations, and what it returns on the server's thread.
  void post_background(std::function<std::function<void()>()> work);

  /// Waits until no request is being answered. @return Whether that was reached in time.
  bool wait_idle(std::chrono::milliseconds timeout);

  /// Closes all connections and joins the threads. Pending responses are destroyed.
  void stop();

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace tessera

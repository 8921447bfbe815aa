#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>

#include "coordinator/frontend/http/http_message.h"

namespace tessera {

/// What a pending response has to send now.
struct ResponsePart {
  enum class Kind {
    kNothing,  ///< Ask again after the next wake-up.
    kWhole,    ///< `whole` is the answer. Only before the head of a stream was sent.
    kBytes,    ///< `bytes` belong to the stream.
    kEnd,      ///< So do these, and they are the last.
  };

  Kind kind = Kind::kNothing;
  HttpResponse whole;
  std::string bytes;
};

/// An answer that is still being made. The connection pulls from it when it can write, so that what
/// a slow client has not taken yet collects here, in its shortest form.
///
/// Owned by its connection, used on the server's thread. Destroyed before kWhole or kEnd was
/// polled, the client has gone away.
class PendingResponse {
 public:
  virtual ~PendingResponse() = default;

  /// `wakeup` is called whenever poll() may have something new; it does not call back.
  virtual void set_wakeup(std::function<void()> wakeup) = 0;

  /// Status and headers of the stream, sent before its first bytes or the first ping; none if the
  /// answer will be whole.
  virtual const HttpResponse* stream_head() const = 0;

  /// @param head_sent  Whether the answer is a stream by now.
  virtual ResponsePart poll(bool head_sent) = 0;
};

/// What a route makes of a request.
using RouteResult = std::variant<HttpResponse, std::unique_ptr<PendingResponse>>;

/// Answers requests. Called on the server's thread; must not block. Exceptions are bugs and end
/// the process, so it handles its own.
class RequestHandler {
 public:
  virtual ~RequestHandler() = default;
  virtual RouteResult handle(HttpRequest request) = 0;

  /// For requests that never became an HttpRequest: too long, malformed, too slow.
  virtual HttpResponse refuse(int status, std::string code, std::string message) = 0;
};

}  // namespace tessera

#pragma once

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/core/tcp_stream.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "coordinator/frontend/http/http_limits.h"
#include "coordinator/frontend/http/pending_response.h"

namespace tessera {

/// One connection. While an answer is pending it keeps a read open, so that a client that goes
/// away is noticed at once, whether or not there is anything to send.
///
/// Lives on the server's thread; its coroutine holds it.
class Session : public std::enable_shared_from_this<Session> {
 public:
  struct Context {
    const HttpLimits& limits;
    RequestHandler& handler;
    std::function<void(int)> on_busy;  ///< +1 when a request is complete, -1 when it is answered.
  };

  Session(boost::beast::tcp_stream stream, const Context& context);

  /// Serves requests until the connection ends.
  boost::asio::awaitable<void> run();

  /// Ends the connection; run() returns soon.
  void close();

 private:
  boost::asio::awaitable<bool> read_request(HttpRequest& request);
  boost::asio::awaitable<bool> answer(HttpRequest request);
  boost::asio::awaitable<bool> serve_pending(PendingResponse& response);
  boost::asio::awaitable<bool> wait_or_ping(PendingResponse& response, bool& head_sent);
  boost::asio::awaitable<bool> write(std::string bytes);
  boost::asio::awaitable<bool> write_whole(const HttpResponse& response);
  boost::asio::awaitable<void> refuse(int status, std::string code, std::string message);
  boost::asio::awaitable<void> stop_watching();
  boost::asio::awaitable<void> linger();
  void limit_read(std::chrono::milliseconds limit);
  void end_read_limit();
  void watch_client();

  boost::beast::tcp_stream stream_;
  Context context_;
  boost::beast::flat_buffer buffer_;
  boost::asio::steady_timer wake_;
  boost::asio::steady_timer read_limit_;
  std::uint64_t read_limit_number_ = 0;  ///< Tells a limit from those before it.
  bool is_read_late_ = false;
  bool keep_alive_ = true;
  bool is_head_request_ = false;  ///< HEAD: the answer has no body.
  bool can_chunk_ = true;         ///< HTTP/1.1
  bool has_news_ = false;
  bool is_watching_ = false;
  bool is_client_gone_ = false;
  bool is_stopping_watch_ = false;
};

}  // namespace tessera

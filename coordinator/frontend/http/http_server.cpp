#include "coordinator/frontend/http/http_server.h"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <condition_variable>
#include <mutex>
#include <set>
#include <thread>

#include "common/base/error.h"
#include "coordinator/frontend/http/response_head.h"
#include "coordinator/frontend/http/session.h"

namespace tessera {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr int kBacklog = 1024;

// A number that other threads wait to become zero.
class BusyCount {
 public:
  void add(int change) {
    const std::lock_guard lock(mutex_);
    count_ += change;
    if (count_ == 0) zero_.notify_all();
  }

  bool wait_zero(std::chrono::milliseconds timeout) {
    std::unique_lock lock(mutex_);
    return zero_.wait_for(lock, timeout, [this] { return count_ == 0; });
  }

 private:
  std::mutex mutex_;  ///< Guards count_.
  std::condition_variable zero_;
  int count_ = 0;
};

}  // namespace

class HttpServer::Impl {
 public:
  Impl(const HttpLimits& limits,
       RequestHandler& handler,
       std::function<void(std::int32_t)> on_connections)
      : limits_(limits),
        handler_(handler),
        on_connections_(std::move(on_connections)),
        acceptor_(context_),
        pause_(context_) {}

  ~Impl() { stop(); }

  void start(const std::string& host, std::uint16_t port) {
    error_code ec;
    const auto address = asio::ip::make_address(host, ec);
    TESSERA_REQUIRE(!ec, "host \"", host, "\" is not an IP address");
    const tcp::endpoint endpoint(address, port);
    acceptor_.open(endpoint.protocol());
    acceptor_.set_option(asio::socket_base::reuse_address(true));
    acceptor_.bind(endpoint, ec);
    if (!ec) acceptor_.listen(kBacklog, ec);
    TESSERA_REQUIRE(!ec, "cannot listen on ", host, ":", port, ": ", ec.message());
    port_ = acceptor_.local_endpoint().port();
    spawn(accept());
    thread_ = std::thread([this] { context_.run(); });
  }

  std::uint16_t port() const { return port_; }

  void post(std::function<void()> task) { asio::post(context_, std::move(task)); }

  void post_background(std::function<std::function<void()>()> work) {
    asio::post(background_, [this, work = std::move(work)] { post(work()); });
  }

  bool wait_idle(std::chrono::milliseconds timeout) { return busy_.wait_zero(timeout); }

  void stop() {
    if (!thread_.joinable()) return;
    background_.join();
    post([this] {
      is_stopping_ = true;
      error_code ignored;  // closing is all that is left to do
      acceptor_.close(ignored);
      pause_.cancel();
      for (Session* session : sessions_) session->close();
    });
    thread_.join();
  }

 private:
  // An exception that leaves a connection is a bug: it ends the process with its message.
  void spawn(asio::awaitable<void> coroutine) {
    asio::co_spawn(context_, std::move(coroutine), [](std::exception_ptr error) {
      if (error) std::rethrow_exception(error);
    });
  }

  asio::awaitable<void> accept() {
    while (!is_stopping_) {
      error_code ec;
      tcp::socket socket =
          co_await acceptor_.async_accept(asio::redirect_error(asio::use_awaitable, ec));
      if (is_stopping_) co_return;
      if (ec) {
        // Out of file descriptors, mostly: trying again at once would only burn the processor.
        pause_.expires_after(std::chrono::milliseconds(50));
        co_await pause_.async_wait(asio::redirect_error(asio::use_awaitable, ec));
        continue;
      }
      socket.set_option(tcp::no_delay(true), ec);
      if (std::ssize(sessions_) >= limits_.max_connections) {
        turn_away(socket);
        continue;
      }
      spawn(serve(std::move(socket)));
    }
  }

  // Fits into the socket's empty buffer, so it does not wait for the client.
  void turn_away(tcp::socket& socket) {
    const HttpResponse response =
        handler_.refuse(503, "too_many_connections", "the server has no free connection");
    error_code ignored;  // the client may be gone
    socket.non_blocking(true, ignored);
    const std::string bytes = whole_head_text(response, /*keep_alive=*/false) + response.body;
    socket.write_some(asio::buffer(bytes), ignored);
  }

  asio::awaitable<void> serve(tcp::socket socket) {
    const auto session = std::make_shared<Session>(
        boost::beast::tcp_stream(std::move(socket)),
        Session::Context{limits_, handler_, [this](int change) { busy_.add(change); }});
    sessions_.insert(session.get());
    on_connections_(static_cast<std::int32_t>(sessions_.size()));
    co_await session->run();
    sessions_.erase(session.get());
    on_connections_(static_cast<std::int32_t>(sessions_.size()));
  }

  const HttpLimits limits_;
  RequestHandler& handler_;
  std::function<void(std::int32_t)> on_connections_;
  BusyCount busy_;
  std::set<Session*> sessions_;
  bool is_stopping_ = false;
  std::uint16_t port_ = 0;
  asio::io_context context_{1};
  tcp::acceptor acceptor_;
  asio::steady_timer pause_;
  asio::thread_pool background_{1};
  std::thread thread_;
};

HttpServer::HttpServer(const HttpLimits& limits,
                       RequestHandler& handler,
                       std::function<void(std::int32_t)> on_connections)
    : impl_(std::make_unique<Impl>(limits, handler, std::move(on_connections))) {}

HttpServer::~HttpServer() = default;

void HttpServer::start(const std::string& host, std::uint16_t port) {
  impl_->start(host, port);
}

std::uint16_t HttpServer::port() const {
  return impl_->port();
}

void HttpServer::post(std::function<void()> task) {
  impl_->post(std::move(task));
}

void HttpServer::post_background(std::function<std::function<void()>()> work) {
  impl_->post_background(std::move(work));
}

bool HttpServer::wait_idle(std::chrono::milliseconds timeout) {
  return impl_->wait_idle(timeout);
}

void HttpServer::stop() {
  impl_->stop();
}

}  // namespace tessera

#include "coordinator/frontend/http/session.h"

#include <boost/asio/bind_executor.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

#include "coordinator/frontend/http/response_head.h"

namespace tessera {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

namespace {

constexpr std::size_t kReadBytes = 8 * 1024;
constexpr std::size_t kMaxPipelinedBytes = 64 * 1024;
constexpr std::chrono::seconds kLingerTime{2};
constexpr std::chrono::seconds kReadGrace{1};
constexpr std::size_t kMaxLingerBytes = 64 * 1024 * 1024;
constexpr std::string_view kPing = ": ping\n\n";

auto into(error_code& ec) {
  return asio::redirect_error(asio::use_awaitable, ec);
}

HttpRequest to_request(http::request<http::string_body> message) {
  HttpRequest request{.method = std::string(message.method_string()),
                      .path = std::string(message.target()),
                      .headers = {},
                      .body = std::move(message.body())};
  request.path.resize(std::min(request.path.find('?'), request.path.size()));
  for (const auto& field : message) {
    std::string name(field.name_string());
    for (char& c : name) c = beast::detail::ascii_tolower(c);
    request.headers.emplace(std::move(name), std::string(field.value()));
  }
  return request;
}

}  // namespace

Session::Session(beast::tcp_stream stream, const Context& context)
    : stream_(std::move(stream)),
      context_(context),
      wake_(stream_.get_executor()),
      read_limit_(stream_.get_executor()) {}

void Session::close() {
  is_client_gone_ = true;
  error_code ignored;  // the peer may have closed it first
  stream_.socket().close(ignored);
  wake_.cancel();
}

asio::awaitable<void> Session::run() {
  const auto self = shared_from_this();
  while (keep_alive_ && !is_client_gone_) {
    HttpRequest request;
    if (!co_await read_request(request)) break;
    context_.on_busy(+1);
    const bool is_open = co_await answer(std::move(request));
    context_.on_busy(-1);
    if (!is_open) break;
  }
  error_code ignored;  // the peer may have closed it first
  stream_.socket().close(ignored);
  while (is_watching_) {
    wake_.expires_at(asio::steady_timer::time_point::max());
    co_await wake_.async_wait(into(ignored));
  }
}

asio::awaitable<bool> Session::read_request(HttpRequest& request) {
  error_code ec;
  const HttpLimits& limits = context_.limits;
  if (buffer_.size() == 0) {
    stream_.expires_after(limits.idle_timeout);
    const std::size_t n = co_await stream_.async_read_some(buffer_.prepare(kReadBytes), into(ec));
    if (ec) co_return false;
    buffer_.commit(n);
  }
  http::request_parser<http::string_body> parser;
  parser.header_limit(static_cast<std::uint32_t>(limits.max_header_bytes));
  parser.body_limit(limits.max_body_bytes);
  limit_read(limits.header_timeout);
  co_await http::async_read_header(stream_, buffer_, parser, into(ec));
  if (!ec) {
    keep_alive_ = parser.get().keep_alive();
    can_chunk_ = parser.get().version() >= 11;
    is_head_request_ = parser.get().method() == http::verb::head;
    if (beast::iequals(parser.get()[http::field::expect], "100-continue")) {
      if (!co_await write("HTTP/1.1 100 Continue\r\n\r\n")) co_return false;
    }
    limit_read(limits.body_timeout);
    co_await http::async_read(stream_, buffer_, parser, into(ec));
  }
  end_read_limit();
  if (!ec) {
    request = to_request(parser.release());
    co_return true;
  }
  if (ec == http::error::header_limit) {
    co_await refuse(
        431, "headers_too_large",
        "the header is larger than " + std::to_string(limits.max_header_bytes) + " bytes");
  } else if (ec == http::error::body_limit) {
    co_await refuse(413, "body_too_large",
                    "the body is larger than " + std::to_string(limits.max_body_bytes) + " bytes");
  } else if (is_read_late_ && !is_client_gone_) {
    co_await refuse(408, "request_timeout", "the request did not arrive in time");
  } else if (ec != http::error::end_of_stream && ec != http::error::partial_message &&
             ec.category() == error_code(http::error::bad_value).category()) {
    co_await refuse(400, "malformed_http", "the request is not valid HTTP: " + ec.message());
  }
  co_return false;
}

// Cancels the read and leaves the socket open for an answer. Should the read just be between two
// of its own, the stream's timeout ends it a little later, without an answer.
void Session::limit_read(std::chrono::milliseconds limit) {
  stream_.expires_after(limit + kReadGrace);
  read_limit_.expires_after(limit);
  read_limit_.async_wait([self = shared_from_this(), number = ++read_limit_number_](error_code ec) {
    if (ec || number != self->read_limit_number_) return;
    self->is_read_late_ = true;
    self->stream_.socket().cancel(ec);
  });
}

void Session::end_read_limit() {
  ++read_limit_number_;
  read_limit_.cancel();
}

asio::awaitable<void> Session::refuse(int status, std::string code, std::string message) {
  keep_alive_ = false;
  const auto response = context_.handler.refuse(status, std::move(code), std::move(message));
  if (co_await write_whole(response)) co_await linger();
}

// Closing while the client still sends would reset the connection and lose the answer.
asio::awaitable<void> Session::linger() {
  error_code ec;
  stream_.socket().shutdown(asio::socket_base::shutdown_send, ec);
  stream_.expires_after(kLingerTime);
  buffer_.clear();
  for (std::size_t total = 0; !ec && total < kMaxLingerBytes;) {
    total += co_await stream_.async_read_some(buffer_.prepare(kReadBytes), into(ec));
  }
}

asio::awaitable<bool> Session::answer(HttpRequest request) {
  RouteResult result = context_.handler.handle(std::move(request));
  if (auto* whole = std::get_if<HttpResponse>(&result)) co_return co_await write_whole(*whole);
  auto pending = std::get<std::unique_ptr<PendingResponse>>(std::move(result));
  pending->set_wakeup([this] {
    has_news_ = true;
    wake_.cancel();
  });
  watch_client();
  const bool is_sent = co_await serve_pending(*pending);
  pending.reset();
  if (is_sent && keep_alive_) co_await stop_watching();
  co_return is_sent && !is_client_gone_;
}

asio::awaitable<bool> Session::serve_pending(PendingResponse& response) {
  for (bool head_sent = false;;) {
    if (is_client_gone_) co_return false;
    has_news_ = false;
    ResponsePart part = response.poll(head_sent);
    if (part.kind == ResponsePart::Kind::kWhole) co_return co_await write_whole(part.whole);
    if (part.kind == ResponsePart::Kind::kNothing) {
      if (!has_news_ && !co_await wait_or_ping(response, head_sent)) co_return false;
      continue;
    }
    const bool is_end = part.kind == ResponsePart::Kind::kEnd;
    if (!can_chunk_) keep_alive_ = false;
    std::string bytes;
    if (!head_sent) bytes = stream_head_text(*response.stream_head(), can_chunk_, keep_alive_);
    bytes += can_chunk_ ? chunk(part.bytes) : part.bytes;
    if (is_end && can_chunk_) bytes += kLastChunk;
    head_sent = true;
    if (!co_await write(std::move(bytes))) co_return false;
    if (is_end) co_return true;
  }
}

asio::awaitable<bool> Session::wait_or_ping(PendingResponse& response, bool& head_sent) {
  const bool can_ping = context_.limits.ping_interval.count() > 0;
  error_code ec;
  if (can_ping) {
    wake_.expires_after(context_.limits.ping_interval);
  } else {
    wake_.expires_at(asio::steady_timer::time_point::max());
  }
  co_await wake_.async_wait(into(ec));
  if (is_client_gone_) co_return false;
  const bool is_ping_due = !ec && !has_news_ && can_ping && response.stream_head() != nullptr;
  if (!is_ping_due) co_return true;
  if (!can_chunk_) keep_alive_ = false;
  std::string bytes;
  if (!head_sent) bytes = stream_head_text(*response.stream_head(), can_chunk_, keep_alive_);
  bytes += can_chunk_ ? chunk(kPing) : std::string(kPing);
  head_sent = true;
  co_return co_await write(std::move(bytes));
}

asio::awaitable<bool> Session::write_whole(const HttpResponse& response) {
  for (const auto& [name, value] : response.headers) {
    if (name == "Connection" && value == "close") keep_alive_ = false;
  }
  std::string bytes = whole_head_text(response, keep_alive_);
  if (!is_head_request_) bytes += response.body;
  co_return co_await write(std::move(bytes));
}

asio::awaitable<bool> Session::write(std::string bytes) {
  error_code ec;
  stream_.expires_after(context_.limits.write_timeout);
  co_await asio::async_write(stream_, asio::buffer(bytes), into(ec));
  co_return !ec;
}

void Session::watch_client() {
  if (buffer_.size() >= kMaxPipelinedBytes || is_stopping_watch_) return;
  is_watching_ = true;
  stream_.expires_never();
  stream_.async_read_some(buffer_.prepare(kReadBytes),
                          [self = shared_from_this()](error_code ec, std::size_t n) {
                            self->is_watching_ = false;
                            if (!ec) {
                              self->buffer_.commit(n);
                              self->watch_client();
                            } else if (!self->is_stopping_watch_) {
                              self->is_client_gone_ = true;
                            }
                            self->wake_.cancel();
                          });
}

asio::awaitable<void> Session::stop_watching() {
  is_stopping_watch_ = true;
  error_code ec;
  if (is_watching_) stream_.socket().cancel(ec);
  while (is_watching_) {
    wake_.expires_at(asio::steady_timer::time_point::max());
    co_await wake_.async_wait(into(ec));
  }
  is_stopping_watch_ = false;
}

}  // namespace tessera

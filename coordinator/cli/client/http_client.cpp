#include "coordinator/cli/client/http_client.h"

#include <array>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/this_coro.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <charconv>
#include <nlohmann/json.hpp>

#include "common/base/error.h"
#include "coordinator/cli/client/sse_parser.h"

namespace tessera {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using ErrorCodeOf = boost::system::error_code;

http::request<http::string_body> request_of(const HttpCall& call) {
  http::request<http::string_body> request;
  request.version(11);
  request.method(call.body.empty() ? http::verb::get : http::verb::post);
  request.target(call.server.path + call.target);
  request.set(http::field::host, call.server.host + ":" + call.server.port);
  request.set(http::field::user_agent, "tessera");
  request.set(http::field::connection, "close");
  if (!call.api_key.empty()) request.set(http::field::authorization, "Bearer " + call.api_key);
  if (!call.body.empty()) request.set(http::field::content_type, "application/json");
  request.body() = call.body;
  request.prepare_payload();
  return request;
}

std::string failure(std::string_view doing, const ErrorCodeOf& error) {
  return std::string(doing) + ": " + error.message();
}

/// Connects and sends; the text of the failure, or empty.
asio::awaitable<std::string> send(beast::tcp_stream& stream, const HttpCall& call) {
  ErrorCodeOf error;
  tcp::resolver resolver(co_await asio::this_coro::executor);
  const auto addresses = co_await resolver.async_resolve(
      call.server.host, call.server.port, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failure("looking up " + call.server.host, error);

  stream.expires_after(call.timeout);
  co_await stream.async_connect(addresses, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failure("connecting to " + call.server.host + ":" + call.server.port, error);
  stream.socket().set_option(tcp::no_delay(true), error);

  http::request<http::string_body> request = request_of(call);
  co_await http::async_write(stream, request, asio::redirect_error(asio::use_awaitable, error));
  if (error) co_return failure("sending", error);
  co_return "";
}

/// Passes each piece of the body on as it arrives; the text of the failure, or empty.
asio::awaitable<std::string> read_body(beast::tcp_stream& stream,
                                       beast::flat_buffer& buffer,
                                       http::response_parser<http::buffer_body>& parser,
                                       std::chrono::seconds timeout,
                                       std::function<void(std::string_view)> on_bytes) {
  std::array<char, 16384> piece{};
  while (!parser.is_done()) {
    parser.get().body().data = piece.data();
    parser.get().body().size = piece.size();
    stream.expires_after(timeout);
    ErrorCodeOf error;
    co_await http::async_read_some(stream, buffer, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
    const std::size_t num_read = piece.size() - parser.get().body().size;
    if (num_read > 0) on_bytes({piece.data(), num_read});
    if (error && error != http::error::need_buffer) co_return failure("reading", error);
  }
  co_return "";
}

}  // namespace

ServerUrl parse_url(std::string_view url) {
  constexpr std::string_view kScheme = "http://";
  ServerUrl server;
  std::string_view rest = url;
  TESSERA_REQUIRE(rest.starts_with(kScheme), "url is \"", url,
                  "\"; allowed: http://HOST[:PORT][/PATH]");
  rest.remove_prefix(kScheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  server.path = rest.substr(slash);
  while (server.path.ends_with('/')) server.path.pop_back();
  rest = rest.substr(0, slash);

  const std::size_t colon = rest.rfind(':');
  if (colon != std::string_view::npos && rest.find(']', colon) == std::string_view::npos) {
    server.port = rest.substr(colon + 1);
    rest = rest.substr(0, colon);
  }
  if (rest.starts_with('[') && rest.ends_with(']')) rest = rest.substr(1, rest.size() - 2);
  server.host = rest;
  int port = 0;
  const char* port_end = server.port.data() + server.port.size();
  const auto [end, error] = std::from_chars(server.port.data(), port_end, port);
  TESSERA_REQUIRE(error == std::errc{} && end == port_end && port >= 1 && port <= 65535,
                  "port of the url \"", url, "\" is \"", server.port, "\"; allowed: 1 to 65535");
  TESSERA_REQUIRE(!server.host.empty(), "url \"", url, "\" names no host");
  return server;
}

asio::awaitable<HttpAnswer> http_request(HttpCall call, OnEvent on_event) {
  HttpAnswer answer;
  beast::tcp_stream stream(co_await asio::this_coro::executor);
  answer.error = co_await send(stream, call);
  if (!answer.error.empty()) co_return answer;

  beast::flat_buffer buffer;
  http::response_parser<http::buffer_body> parser;
  parser.body_limit(boost::none);
  ErrorCodeOf error;
  co_await http::async_read_header(stream, buffer, parser,
                                   asio::redirect_error(asio::use_awaitable, error));
  if (error) {
    answer.error = failure("reading", error);
    co_return answer;
  }
  answer.status = parser.get().result_int();
  const bool is_stream =
      parser.get()[http::field::content_type].starts_with("text/event-stream") && on_event;
  SseParser events;
  const SseParser::OnData on_data = [&](std::string_view payload) {
    if (payload == "[DONE]") {
      answer.is_done = true;
    } else {
      on_event(payload);
    }
  };
  const std::function<void(std::string_view)> on_bytes = [&](std::string_view bytes) {
    if (is_stream) {
      events.feed(bytes, on_data);
    } else {
      answer.body += bytes;
    }
  };
  answer.error = co_await read_body(stream, buffer, parser, call.timeout, on_bytes);
  stream.socket().shutdown(tcp::socket::shutdown_both, error);
  co_return answer;
}

HttpAnswer blocking_http_request(const HttpCall& call, const OnEvent& on_event) {
  asio::io_context loop(1);
  HttpAnswer answer;
  std::exception_ptr failed;
  asio::co_spawn(loop, http_request(call, on_event),
                 [&](std::exception_ptr exception, HttpAnswer result) {
                   failed = exception;
                   answer = std::move(result);
                 });
  loop.run();
  if (failed) std::rethrow_exception(failed);
  return answer;
}

std::string error_message(const HttpAnswer& answer) {
  if (!answer.error.empty()) return answer.error;
  const nlohmann::json body =
      nlohmann::json::parse(answer.body, nullptr, /*allow_exceptions=*/false);
  const nlohmann::json::json_pointer place("/error/message");
  if (!body.is_discarded() && body.is_object() && body.contains(place) &&
      body.at(place).is_string()) {
    return body.at(place).get<std::string>();
  }
  return "status " + std::to_string(answer.status) +
         (answer.body.empty() ? "" : ": " + answer.body.substr(0, 500));
}

}  // namespace tessera

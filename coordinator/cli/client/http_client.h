#pragma once

#include <boost/asio/awaitable.hpp>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace tessera {

/// Where a server listens: "http://127.0.0.1:8080", a path behind it is put before every target.
struct ServerUrl {
  std::string host;
  std::string port = "80";
  std::string path;  ///< Without a slash at its end.
};

/// @throws Error{kInvalidArgument} for anything but http://HOST[:PORT][/PATH].
ServerUrl parse_url(std::string_view url);

/// One request. Its answer is awaited for `timeout` at every read, not in total.
struct HttpCall {
  ServerUrl server;
  std::string target;   ///< "/v1/models"
  std::string api_key;  ///< Sent as a bearer token unless empty.
  std::string body;     ///< JSON; empty: a GET.
  std::chrono::seconds timeout{600};
};

/// What came back. Failures of the connection are outcomes, too: a load generator counts them.
struct HttpAnswer {
  int status = 0;        ///< 0: no answer, see `error`.
  std::string error;     ///< "Connection refused"; empty if the answer arrived whole.
  std::string body;      ///< Empty for event streams.
  bool is_done = false;  ///< An event stream that ended with [DONE].

  bool is_ok() const { return status == 200 && error.empty(); }
};

/// The payload of one server-sent event, as soon as it is read; [DONE] is not passed on.
using OnEvent = std::function<void(std::string_view payload)>;

/// Runs one request on a connection of its own. A 200 answer of type text/event-stream goes to
/// `on_event`, every other body into the answer. To be awaited on one thread.
boost::asio::awaitable<HttpAnswer> http_request(HttpCall call, OnEvent on_event);

/// The same for callers without an event loop: blocks until the answer is there.
HttpAnswer blocking_http_request(const HttpCall& call, const OnEvent& on_event = {});

/// The message of an OpenAI error body, or the body itself, for people.
std::string error_message(const HttpAnswer& answer);

}  // namespace tessera

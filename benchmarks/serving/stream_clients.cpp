#include "benchmarks/serving/stream_clients.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/base/error.h"

namespace tessera {
namespace {

std::string http_request_of(const SequenceRequest& request) {
  const std::string body = nlohmann::json{
      {"prompt", request.prompt},
      {"max_tokens", request.limits.max_tokens},
      {"ignore_eos", true},
      {"stream", true}}.dump();
  return "POST /v1/completions HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
         "Content-Length: " +
         std::to_string(body.size()) + "\r\n\r\n" + body;
}

int connected_socket(const std::string& port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(port)));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int socket = ::socket(AF_INET, SOCK_STREAM, 0);
  const int failed = ::connect(socket, reinterpret_cast<sockaddr*>(&address), sizeof(address));
  TESSERA_CHECK(failed == 0, "cannot connect to port ", port);
  return socket;
}

void send_all(int socket, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    TESSERA_CHECK(sent > 0, "the server closed a connection");
    bytes.remove_prefix(static_cast<std::size_t>(sent));
  }
}

}  // namespace

void read_streams(const OverheadLoad& load, const std::string& port) {
  const auto strategy = load.strategy();
  std::vector<pollfd> sockets;
  for (std::int32_t i = 1; i <= load.num_requests; ++i) {
    sockets.push_back({connected_socket(port), POLLIN, 0});
    send_all(sockets.back().fd, http_request_of(load.request(static_cast<RequestId>(i), strategy)));
  }
  std::array<char, 1 << 16> bytes{};
  std::vector<bool> is_answered(sockets.size());
  for (std::size_t num_open = sockets.size(); num_open > 0;) {
    ::poll(sockets.data(), sockets.size(), -1);
    for (std::size_t i = 0; i < sockets.size(); ++i) {
      pollfd& item = sockets[i];
      if (item.revents == 0) continue;
      const ssize_t num_read = ::recv(item.fd, bytes.data(), bytes.size(), 0);
      if (num_read > 0) {
        const std::string_view answer(bytes.data(), static_cast<std::size_t>(num_read));
        TESSERA_CHECK(is_answered[i] || answer.starts_with("HTTP/1.1 200"), "refused: ", answer);
        is_answered[i] = true;
        continue;
      }
      ::close(item.fd);
      item.fd = -1;  // poll skips it
      --num_open;
    }
  }
}

}  // namespace tessera

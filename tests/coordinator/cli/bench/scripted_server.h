#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace tessera::testing {

/// A server on loopback that gives the n-th connection the n-th of its answers, bytes as they are,
/// whatever is asked, and closes it. One connection after the other.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> answers)
      : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof(address);
    auto* plain = reinterpret_cast<sockaddr*>(&address);
    if (::bind(socket_, plain, size) != 0 || ::listen(socket_, 64) != 0 ||
        ::getsockname(socket_, plain, &size) != 0) {
      throw std::runtime_error("cannot listen");
    }
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this, script = std::move(answers)] {
      for (const std::string& answer : script) serve(answer);
    });
  }
  ~ScriptedServer() {
    thread_.join();
    ::close(socket_);
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  void serve(const std::string& answer) const {
    const int connection = ::accept(socket_, nullptr, nullptr);
    std::string request;
    char bytes[4096];
    // Headers and a body that fits into what follows them at once.
    while (request.find("\r\n\r\n") == std::string::npos || !request.ends_with('}')) {
      const ssize_t num_read = ::recv(connection, bytes, sizeof(bytes), 0);
      if (num_read <= 0) break;
      request.append(bytes, static_cast<std::size_t>(num_read));
    }
    ::send(connection, answer.data(), answer.size(), MSG_NOSIGNAL);
    ::close(connection);
  }

  int socket_;
  std::uint16_t port_ = 0;
  std::thread thread_;
};

}  // namespace tessera::testing

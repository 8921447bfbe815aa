#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace tessera::testing {

struct Answer {
  int status = 0;
  std::string head;
  std::string body;
};

/// A blocking HTTP client on one loopback connection, written apart from the server's HTTP code.
/// Every read ends after 20 s.
class HttpClient {
 public:
  explicit HttpClient(std::uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    const timeval limit{.tv_sec = 20, .tv_usec = 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
      throw std::runtime_error("cannot connect");
    }
  }
  ~HttpClient() { close(); }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  void close() {
    if (socket_ >= 0) ::close(socket_);
    socket_ = -1;
  }

  void send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = ::send(socket_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (n <= 0) return;  // the answer may come before the server has read everything
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }

  void post(const std::string& path, const std::string& body, const std::string& headers = "") {
    send("POST " + path + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + headers +
         "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
  }

  Answer get(const std::string& path, const std::string& headers = "") {
    send("GET " + path + " HTTP/1.1\r\nHost: x\r\n" + headers + "\r\n");
    return read();
  }

  /// Waits until the answer so far contains `text`, which stays to be read.
  bool wait_for(std::string_view text) {
    while (buffer_.find(text) == std::string::npos) {
      if (!receive()) return false;
    }
    return true;
  }

  /// The next answer as a whole, chunked or not.
  Answer read() {
    Answer answer;
    if (!wait_for("\r\n\r\n")) return answer;
    answer.head = take(buffer_.find("\r\n\r\n") + 4);
    answer.status = std::atoi(answer.head.c_str() + sizeof("HTTP/1.1"));
    const std::size_t length = answer.head.find("Content-Length: ");
    if (length != std::string::npos) {
      answer.body = take_exactly(std::strtoul(answer.head.c_str() + length + 16, nullptr, 10));
    } else if (answer.head.find("chunked") != std::string::npos) {
      answer.body = read_chunks();
    } else {
      while (receive()) {
      }
      answer.body = take(buffer_.size());
    }
    return answer;
  }

  /// Whether something has arrived that was not read yet.
  bool has_news() const {
    char byte = 0;
    return !buffer_.empty() || recv(socket_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
  }

  /// Whether the server has closed the connection, after everything it sent.
  bool is_at_end() { return !receive(); }

 private:
  bool receive() {
    char bytes[4096];
    const ssize_t n = recv(socket_, bytes, sizeof(bytes), 0);
    if (n <= 0) return false;
    buffer_.append(bytes, static_cast<std::size_t>(n));
    return true;
  }

  std::string take(std::size_t size) {
    std::string text = buffer_.substr(0, size);
    buffer_.erase(0, size);
    return text;
  }

  std::string take_exactly(std::size_t size) {
    while (buffer_.size() < size && receive()) {
    }
    return take(size);
  }

  std::string read_chunks() {
    std::string body;
    for (;;) {
      if (!wait_for("\r\n")) return body + "<cut>";
      const std::size_t size = std::strtoul(take(buffer_.find("\r\n") + 2).c_str(), nullptr, 16);
      const std::string chunk = take_exactly(size + 2);
      if (size == 0) return body;
      body += chunk.substr(0, size);
    }
  }

  int socket_;
  std::string buffer_;
};

}  // namespace tessera::testing

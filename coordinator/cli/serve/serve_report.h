#pragma once

#include <chrono>
#include <cstdint>
#include <deque>
#include <ostream>
#include <string>
#include <string_view>

#include "common/config/config.h"

namespace tessera {

enum class ReportStyle : std::uint8_t {
  kPlain,
  kColours,  ///< For terminals: dim sources, bold headings, red failures.
  kJson,     ///< Our words go to the log (common/log), children's JSON lines pass unchanged.
};

/// What `tessera serve` prints: lines of its own and its children's, each with its source in front,
/// the addresses when the server is ready, and why it ended.
class ServeReport {
 public:
  ServeReport(std::ostream& out, ReportStyle style) : out_(out), style_(style) {}

  /// Our own words about a source: "serve", "coordinator", "replica 0".
  void line(std::string_view source, std::string_view text);

  /// A line that a child printed.
  void pass_on(std::string_view source, std::string_view text);

  void ready(const ServerConfig& config, int http_port, std::chrono::nanoseconds since_start);

  /// @param last_lines  What the child printed before its end.
  void failure(const std::string& what,
               const std::deque<std::string>& last_lines,
               const std::string& advice);

 private:
  std::string painted(std::string_view code, std::string_view text) const;

  std::ostream& out_;
  ReportStyle style_;
};

/// "http://127.0.0.1:8080", as a client on this machine reaches the server.
std::string local_url(const std::string& host, int port);

/// "exit code 65" or "killed by signal 9", from the code of a shell.
std::string exit_text(int exit_code);

/// What a person can do about a child that ended with this code.
std::string exit_advice(int exit_code);

/// "1 rank", "2 ranks"
std::string count_text(std::int64_t count, const std::string& noun);

/// "1.2 s"
std::string seconds_text(std::chrono::nanoseconds duration);

}  // namespace tessera

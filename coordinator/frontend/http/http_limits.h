#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace tessera {

/// What one client may cost. Each limit is answered by its own status, see docs/api.md.
struct HttpLimits {
  std::size_t max_header_bytes = 16 * 1024;        ///< 431
  std::size_t max_body_bytes = 4 * 1024 * 1024;    ///< 413
  std::int32_t max_connections = 4096;             ///< Beyond them: 503 and closed.
  std::chrono::milliseconds idle_timeout{75'000};  ///< Between requests of a connection.
  std::chrono::milliseconds header_timeout{
      10'000};                                     ///< From the first byte of a header to its end.
  std::chrono::milliseconds body_timeout{30'000};  ///< For the whole body.
  std::chrono::milliseconds write_timeout{
      60'000};  ///< A client that takes nothing for so long is gone.
  /// Comment lines that keep a silent stream open through proxies; 0 is off. Below 15 s the stream
  /// reader of `vllm bench serve` loses events after a lone comment.
  std::chrono::milliseconds ping_interval{15'000};
};

}  // namespace tessera

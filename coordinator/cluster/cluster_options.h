#pragma once

#include <chrono>
#include <cstdint>
#include <string>

namespace tessera {

/// How ranks join and how long they may be silent.
struct ClusterOptions {
  std::string token;  ///< Ranks must show it; empty: none is asked for.
  std::int32_t page_size = 32;
  std::int32_t max_running_requests = 64;  ///< Per replica.
  std::int32_t max_step_rows = 512;
  std::int32_t max_model_len = 4096;
  std::chrono::milliseconds heartbeat_interval{200};
  std::chrono::milliseconds heartbeat_timeout{10'000};  ///< A rank silent for longer hangs.
  std::chrono::milliseconds join_timeout{300'000};      ///< First Hello of a job to Ready of all.
  std::chrono::milliseconds step_timeout{60'000};       ///< A rank that answers later hangs.
  bool supervised = false;  ///< Somebody restarts lost replicas: requests wait for them.
};

}  // namespace tessera

#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <zmq.hpp>

#include "common/wire/codec.h"

namespace tessera {

/// The heartbeat of a rank: a thread with a connection of its own that sends a Heartbeat every
/// interval and listens for the coordinator's. Stops when destroyed.
class RankPulse {
 public:
  struct Options {
    std::string coordinator;
    wire::Heartbeat heartbeat;
    std::chrono::milliseconds interval{200};
    std::chrono::milliseconds coordinator_timeout{10'000};
  };

  /// @param on_abandoned  Called once, on the pulse's thread, when the coordinator says that the
  ///                      replica is lost, or nothing for coordinator_timeout.
  RankPulse(zmq::context_t& context,
            Options options,
            std::function<void(const std::string&)> on_abandoned);
  ~RankPulse();

  /// Whether on_abandoned was called. Any thread.
  bool is_abandoned() const noexcept { return is_abandoned_.load(); }

 private:
  void run(zmq::context_t& context);
  std::string beat(zmq::context_t& context);

  Options options_;
  std::function<void(const std::string&)> on_abandoned_;
  std::atomic<bool> is_stopping_ = false;
  std::atomic<bool> is_abandoned_ = false;
  std::thread thread_;
};

}  // namespace tessera

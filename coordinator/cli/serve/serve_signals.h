#pragma once

namespace tessera {

/// SIGCHLD and the signals that stop a server, as a descriptor to poll. Blocks them for the
/// process: make it before other threads exist.
class ServeSignals {
 public:
  ServeSignals();
  ~ServeSignals();
  ServeSignals(const ServeSignals&) = delete;
  ServeSignals& operator=(const ServeSignals&) = delete;

  int descriptor() const noexcept { return descriptor_; }

  /// Empties the queue.
  /// @return How many asked to stop: SIGTERM, and SIGINT and SIGHUP unless they are ignored, as
  ///         shells do for background jobs of scripts and nohup for its command.
  int take_stops();

 private:
  int descriptor_ = -1;
};

}  // namespace tessera

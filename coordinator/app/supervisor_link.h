#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "coordinator/cluster/cluster_event.h"

namespace tessera {

/// The coordinator's end of the socket to `tessera serve`, one line per message:
///
///     to the supervisor:   listening CONTROL_ENDPOINT HTTP_PORT | ready JOB_ID | lost JOB_ID
///     to the coordinator:  give-up REASON
///
/// `listening` comes first, once: from then on workers may connect and clients may ask. tell() may
/// be called from the engine thread, the rest belongs to main. Nothing blocks.
class SupervisorLink {
 public:
  /// @param descriptor  Inherited; becomes non-blocking.
  explicit SupervisorLink(int descriptor);

  void tell_listening(const std::string& control_endpoint, std::uint16_t http_port);
  void tell(const ClusterEvent& event);

  /// Reads what has arrived; the reason once the supervisor has given up.
  std::optional<std::string> receive();

  int descriptor() const noexcept { return descriptor_; }
  bool is_closed() const noexcept { return is_closed_; }  ///< The supervisor is gone.

 private:
  void send_line(const std::string& line);

  int descriptor_;
  bool is_closed_ = false;
  std::string pending_;
};

}  // namespace tessera

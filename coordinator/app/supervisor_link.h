#pragma once

#include <functional>
#include <optional>
#include <string>

#include "coordinator/cluster/cluster_event.h"

namespace tessera {

/// The coordinator's end of the socket to `tessera serve`, one line per message:
///
///     to the supervisor:   ready JOB_ID | lost JOB_ID
///     to the coordinator:  give-up REASON
///
/// tell() may be called from the engine thread, the rest belongs to main. Nothing blocks.
class SupervisorLink {
 public:
  /// @param descriptor  Inherited; becomes non-blocking.
  explicit SupervisorLink(int descriptor);

  void tell(const ClusterEvent& event);

  /// Reads what has arrived; the reason once the supervisor has given up.
  std::optional<std::string> receive();

  int descriptor() const noexcept { return descriptor_; }
  bool is_closed() const noexcept { return is_closed_; }  ///< The supervisor is gone.

 private:
  int descriptor_;
  bool is_closed_ = false;
  std::string pending_;
};

}  // namespace tessera

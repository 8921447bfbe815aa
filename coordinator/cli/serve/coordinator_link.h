#pragma once

#include <string>
#include <vector>

namespace tessera {

/// What the coordinator says on the socket to its supervisor, see
/// coordinator/app/supervisor_link.h.
struct CoordinatorMessage {
  enum class Kind { kListening, kReady, kLost };

  Kind kind = Kind::kListening;
  std::string job_id;            ///< kReady, kLost.
  std::string control_endpoint;  ///< kListening: where workers connect to.
  int http_port = 0;             ///< kListening.
};

/// @throws Error{kInternal} for a line that the coordinator never sends.
CoordinatorMessage parse_coordinator_message(const std::string& line);

/// Our end of that socket. Nothing blocks.
class CoordinatorLink {
 public:
  CoordinatorLink();
  ~CoordinatorLink();
  CoordinatorLink(const CoordinatorLink&) = delete;
  CoordinatorLink& operator=(const CoordinatorLink&) = delete;

  int descriptor() const noexcept { return own_end_; }

  /// The end that the coordinator inherits; close it here once it is started.
  int coordinator_end() const noexcept { return coordinator_end_; }
  void close_coordinator_end();

  /// What has arrived.
  std::vector<CoordinatorMessage> receive();

  /// No replica is started any more.
  void give_up(const std::string& reason);

 private:
  int own_end_ = -1;
  int coordinator_end_ = -1;
  std::string pending_;
};

}  // namespace tessera

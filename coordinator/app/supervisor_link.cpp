#include "coordinator/app/supervisor_link.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "common/base/error.h"

namespace tessera {

SupervisorLink::SupervisorLink(int descriptor) : descriptor_(descriptor) {
  const int flags = fcntl(descriptor, F_GETFL);
  TESSERA_REQUIRE(flags >= 0 && fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0,
                  "TESSERA_SUPERVISOR_FD is ", descriptor, ", which is not open");
}

void SupervisorLink::tell_listening(const std::string& control_endpoint, std::uint16_t http_port) {
  send_line("listening " + control_endpoint + " " + std::to_string(http_port));
}

void SupervisorLink::tell(const ClusterEvent& event) {
  if (event.kind == ClusterEventKind::kReplicaReady) send_line("ready " + event.job_id);
  if (event.kind == ClusterEventKind::kReplicaLost) send_line("lost " + event.job_id);
}

void SupervisorLink::send_line(const std::string& text) {
  const std::string line = text + "\n";
  const ssize_t sent = send(descriptor_, line.data(), line.size(), MSG_NOSIGNAL);
  // EPIPE: the supervisor is gone, which receive() notices.
  TESSERA_CHECK(sent == static_cast<ssize_t>(line.size()) || errno == EPIPE || errno == ECONNRESET,
                "cannot tell the supervisor: ", std::strerror(errno));
}

std::optional<std::string> SupervisorLink::receive() {
  std::array<char, 512> buffer;
  for (;;) {
    const ssize_t size = recv(descriptor_, buffer.data(), buffer.size(), 0);
    if (size <= 0) {
      is_closed_ = size == 0 || (errno != EAGAIN && errno != EINTR);
      break;
    }
    pending_.append(buffer.data(), static_cast<std::size_t>(size));
  }
  constexpr std::string_view kGiveUp = "give-up ";
  const std::size_t end = pending_.find('\n');
  if (end == std::string::npos) return std::nullopt;
  const std::string line = pending_.substr(0, end);
  pending_.erase(0, end + 1);
  TESSERA_CHECK(line.starts_with(kGiveUp), "the supervisor sent: ", line);
  return line.substr(kGiveUp.size());
}

}  // namespace tessera

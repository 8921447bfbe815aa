#include "coordinator/cli/serve/coordinator_link.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "common/base/error.h"

namespace tessera {

CoordinatorMessage parse_coordinator_message(const std::string& line) {
  using Kind = CoordinatorMessage::Kind;
  std::istringstream words(line);
  std::string verb;
  CoordinatorMessage message;
  words >> verb;
  if (verb == "listening") {
    words >> message.control_endpoint >> message.http_port;
  } else if (verb == "ready" || verb == "lost") {
    message.kind = verb == "ready" ? Kind::kReady : Kind::kLost;
    // A job started by hand may have a name with blanks.
    std::getline(words >> std::ws, message.job_id);
  } else {
    words.setstate(std::ios::failbit);
  }
  TESSERA_CHECK(!words.fail(), "the coordinator sent: ", line);
  return message;
}

CoordinatorLink::CoordinatorLink() {
  int ends[2];
  TESSERA_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0,
                "socketpair: ", std::strerror(errno));
  own_end_ = ends[0];
  coordinator_end_ = ends[1];
}

CoordinatorLink::~CoordinatorLink() {
  close(own_end_);
  close_coordinator_end();
}

void CoordinatorLink::close_coordinator_end() {
  if (coordinator_end_ >= 0) close(coordinator_end_);
  coordinator_end_ = -1;
}

std::vector<CoordinatorMessage> CoordinatorLink::receive() {
  std::array<char, 4096> buffer;
  ssize_t size = 0;
  while ((size = recv(own_end_, buffer.data(), buffer.size(), MSG_DONTWAIT)) > 0) {
    pending_.append(buffer.data(), static_cast<std::size_t>(size));
  }
  std::vector<CoordinatorMessage> messages;
  for (std::size_t end = 0; (end = pending_.find('\n')) != std::string::npos;) {
    messages.push_back(parse_coordinator_message(pending_.substr(0, end)));
    pending_.erase(0, end + 1);
  }
  return messages;
}

void CoordinatorLink::give_up(const std::string& reason) {
  std::string line = "give-up " + reason;
  std::ranges::replace(line, '\n', ' ');
  line += "\n";
  // A coordinator that is gone needs to be told nothing: its exit is an event of its own.
  send(own_end_, line.data(), line.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
}

}  // namespace tessera

#include "coordinator/cluster/command_queue.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/error.h"

namespace tessera {

CommandQueue::CommandQueue() : wake_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  TESSERA_CHECK(wake_ >= 0, "eventfd: ", std::strerror(errno));
}

CommandQueue::~CommandQueue() {
  close(wake_);
}

void CommandQueue::push(EngineCommand command) {
  const std::lock_guard lock(mutex_);
  commands_.push_back(std::move(command));
  if (commands_.size() > 1) return;
  const int result = eventfd_write(wake_, 1);
  TESSERA_CHECK(result == 0, "eventfd_write: ", std::strerror(errno));
}

std::vector<EngineCommand> CommandQueue::take() {
  const std::lock_guard lock(mutex_);
  if (commands_.empty()) return {};
  eventfd_t count = 0;
  const int result = eventfd_read(wake_, &count);
  TESSERA_CHECK(result == 0, "eventfd_read: ", std::strerror(errno));
  return std::exchange(commands_, {});
}

}  // namespace tessera

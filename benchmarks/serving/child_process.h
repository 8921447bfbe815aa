#pragma once

#include <sys/types.h>

#include <array>
#include <functional>
#include <string>

namespace tessera {

/// A fork of this process that waits for one message and then does its work. The calling process
/// must have one thread.
class ChildProcess {
 public:
  explicit ChildProcess(const std::function<void(const std::string& message)>& work);

  /// Waits for its end; one that got no message ends at once.
  ~ChildProcess();
  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  /// Once, at most 255 bytes.
  void send(const std::string& message);

 private:
  std::array<int, 2> pipe_{};
  pid_t pid_ = 0;
};

}  // namespace tessera

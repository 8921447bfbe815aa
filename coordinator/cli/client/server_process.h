#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "coordinator/cli/client/http_client.h"

namespace tessera {

/// Path of a program installed beside the running one.
/// @throws Error{kInvalidArgument} if it is not there.
std::string sibling_program(const std::string& name);

/// A `tessera serve` on a free port of loopback that lives as long as this object, and no longer
/// than the thread that made it. Its output goes to a file in memory, which error messages quote.
class ServerProcess {
 public:
  /// Starts the server and returns when it is ready.
  /// @param arguments  The model directory and further flags of `tessera serve`.
  /// @throws Error{kInvalidArgument} with the end of its output if it ends before it is ready.
  explicit ServerProcess(const std::vector<std::string>& arguments);

  /// Lets it drain and waits for its end.
  ~ServerProcess();

  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  const ServerUrl& url() const noexcept { return url_; }

 private:
  void await_ready();
  void stop() noexcept;
  std::string end_of_log() const;

  ServerUrl url_;
  int log_ = -1;
  pid_t pid_ = 0;
};

}  // namespace tessera

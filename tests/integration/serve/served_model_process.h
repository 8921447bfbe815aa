#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "coordinator/cli/client/http_client.h"

namespace tessera::testing {

/// `tessera serve`, or a variant of it with other ranks, as a child of the test, with what it
/// prints. Every wait has a deadline and fails by an exception that quotes the output.
class ServedModelProcess {
 public:
  using Variables = std::vector<std::pair<std::string, std::string>>;

  explicit ServedModelProcess(const std::vector<std::string>& command,
                              const Variables& environment = {});

  /// Kills it if it still runs.
  ~ServedModelProcess();

  ServedModelProcess(const ServedModelProcess&) = delete;
  ServedModelProcess& operator=(const ServedModelProcess&) = delete;

  /// Reads output until it has `text`, `times` times since the start.
  void await_output(const std::string& text, int times = 1);

  /// Waits for the addresses that are printed when it is ready.
  void await_ready();

  void send_signal(int signal) const;
  int await_exit();

  ServerUrl url() const;
  const std::string& output() const noexcept { return output_; }
  pid_t pid() const noexcept { return pid_; }

  /// The mpirun processes, oldest first.
  std::vector<pid_t> jobs() const;

  /// Ranks of a job.
  static std::vector<pid_t> ranks_of(pid_t job);

  /// It and everything that descends from it.
  std::vector<pid_t> family() const;

 private:
  bool read_some(std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string output_;
};

/// Waits until none of the processes is left. @return Those that are, at the deadline.
std::vector<pid_t> await_end_of(std::vector<pid_t> processes);

}  // namespace tessera::testing

#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <vector>

namespace tessera::testing {

/// `mpirun WORDS` as a child of the test, with what it prints. Every wait has a deadline and ends
/// with an Error that quotes the output.
class JobProcess {
 public:
  /// @param words  Behind mpirun and its flags: "-n 1 PROGRAM ... : -n 2 ..."
  explicit JobProcess(const std::vector<std::string>& words);

  /// Ends the job if it still runs.
  ~JobProcess();
  JobProcess(const JobProcess&) = delete;
  JobProcess& operator=(const JobProcess&) = delete;

  /// Reads output until it has `text`; what follows it up to the end of the word.
  std::string await_output(const std::string& text);

  /// Reads output until it ends; mpirun's exit code.
  int await_exit();

  const std::string& output() const noexcept { return output_; }

  /// Process ids of the processes of the job, in the order of the command line.
  std::vector<pid_t> processes() const;

 private:
  bool read_some(std::chrono::steady_clock::time_point deadline);

  pid_t pid_ = -1;
  int pipe_ = -1;
  std::string output_;
};

}  // namespace tessera::testing

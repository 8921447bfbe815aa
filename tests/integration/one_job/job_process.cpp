#include "tests/integration/one_job/job_process.h"

#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>

#include "common/base/error.h"

namespace tessera::testing {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};

std::vector<std::string> mpirun(const std::vector<std::string>& words) {
  // Over tcp: killed ranks leave Open MPI's shared-memory files behind.
  std::vector<std::string> command = {"mpirun",
                                      "--allow-run-as-root",
                                      "--oversubscribe",
                                      "--bind-to",
                                      "none",
                                      "--mca",
                                      "btl",
                                      "self,tcp",
                                      "--mca",
                                      "btl_tcp_if_include",
                                      "lo"};
  command.insert(command.end(), words.begin(), words.end());
  return command;
}

}  // namespace

JobProcess::JobProcess(const std::vector<std::string>& words) {
  std::vector<std::string> command = mpirun(words);
  std::vector<char*> argv;
  for (std::string& word : command) argv.push_back(word.data());
  argv.push_back(nullptr);
  std::array<int, 2> ends{};
  TESSERA_CHECK(pipe(ends.data()) == 0, "no pipe");
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    execvp(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
  pipe_ = ends[0];
}

JobProcess::~JobProcess() {
  close(pipe_);
  if (pid_ <= 0) return;
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
}

// False at the end of the output.
bool JobProcess::read_some(SteadyClock::time_point deadline) {
  pollfd item{pipe_, POLLIN, 0};
  const auto left = std::chrono::duration_cast<milliseconds>(deadline - SteadyClock::now());
  const int timeout = static_cast<int>(std::max<std::int64_t>(0, left.count()));
  TESSERA_CHECK(poll(&item, 1, timeout) > 0, "nothing more within the time but:\n", output_);
  std::array<char, 4096> buffer{};
  const ssize_t size = read(pipe_, buffer.data(), buffer.size());
  if (size > 0) output_.append(buffer.data(), static_cast<std::size_t>(size));
  return size > 0;
}

std::string JobProcess::await_output(const std::string& text) {
  const auto deadline = SteadyClock::now() + kPatience;
  for (;;) {
    const std::size_t found = output_.find(text);
    const std::size_t begin = found + text.size();
    const std::size_t end = output_.find_first_of(" ,;\n", begin);
    if (found != std::string::npos && end != std::string::npos) {
      return output_.substr(begin, end - begin);
    }
    TESSERA_CHECK(read_some(deadline), "the job ended without \"", text, "\":\n", output_);
  }
}

int JobProcess::await_exit() {
  const auto deadline = SteadyClock::now() + kPatience;
  while (read_some(deadline)) {
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::vector<pid_t> JobProcess::processes() const {
  const std::string pid = std::to_string(pid_);
  std::ifstream children("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> pids;
  for (pid_t child = 0; children >> child;) pids.push_back(child);
  return pids;
}

}  // namespace tessera::testing

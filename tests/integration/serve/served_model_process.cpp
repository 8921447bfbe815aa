#include "tests/integration/serve/served_model_process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <stdexcept>
#include <thread>

namespace tessera::testing {
namespace {

using std::chrono::steady_clock;

constexpr std::chrono::seconds kPatience{60};

std::vector<pid_t> children_of(pid_t parent) {
  const std::string pid = std::to_string(parent);
  std::ifstream file("/proc/" + pid + "/task/" + pid + "/children");
  std::vector<pid_t> children;
  for (pid_t child = 0; file >> child;) children.push_back(child);
  return children;
}

std::string program_of(pid_t pid) {
  std::ifstream file("/proc/" + std::to_string(pid) + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

}  // namespace

ServedModelProcess::ServedModelProcess(const std::vector<std::string>& command,
                                       const Variables& environment) {
  std::vector<char*> argv;
  for (const std::string& word : command) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  std::array<int, 2> ends{};
  if (pipe2(ends.data(), O_CLOEXEC) != 0) throw std::runtime_error("pipe failed");
  pipe_ = ends[0];
  pid_ = fork();
  if (pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    dup2(ends[1], STDOUT_FILENO);
    dup2(ends[1], STDERR_FILENO);
    execv(argv[0], argv.data());
    _exit(127);
  }
  close(ends[1]);
}

ServedModelProcess::~ServedModelProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  close(pipe_);
}

bool ServedModelProcess::read_some(steady_clock::time_point deadline) {
  const auto left =
      std::chrono::duration_cast<std::chrono::milliseconds>(deadline - steady_clock::now());
  pollfd item{pipe_, POLLIN, 0};
  if (left.count() <= 0 || poll(&item, 1, static_cast<int>(left.count())) <= 0) return false;
  std::array<char, 4096> buffer;
  const ssize_t size = read(pipe_, buffer.data(), buffer.size());
  if (size <= 0) return false;
  output_.append(buffer.data(), static_cast<std::size_t>(size));
  return true;
}

void ServedModelProcess::await_output(const std::string& text, int times) {
  const auto deadline = steady_clock::now() + kPatience;
  while (true) {
    int found = 0;
    for (std::size_t at = 0; (at = output_.find(text, at)) != std::string::npos; ++at) ++found;
    if (found >= times) return;
    if (!read_some(deadline)) throw std::runtime_error("never printed: " + text + "\n" + output_);
  }
}

void ServedModelProcess::await_ready() {
  await_output("Ctrl-C lets");
}

void ServedModelProcess::send_signal(int signal) const {
  kill(pid_, signal);
}

int ServedModelProcess::await_exit() {
  const auto deadline = steady_clock::now() + kPatience;
  while (read_some(deadline)) {
  }
  if (steady_clock::now() >= deadline) throw std::runtime_error("did not exit\n" + output_);
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

ServerUrl ServedModelProcess::url() const {
  const std::string label = "  page     ";
  const std::size_t start = output_.find(label) + label.size();
  return parse_url(output_.substr(start, output_.find('\n', start) - start));
}

std::vector<pid_t> ServedModelProcess::jobs() const {
  std::vector<pid_t> jobs;
  for (const pid_t child : children_of(pid_)) {
    if (program_of(child) == "mpirun" || program_of(child) == "orterun") jobs.push_back(child);
  }
  return jobs;
}

std::vector<pid_t> ServedModelProcess::ranks_of(pid_t job) {
  return children_of(job);
}

std::vector<pid_t> ServedModelProcess::family() const {
  std::vector<pid_t> family = {pid_};
  for (std::size_t i = 0; i < family.size(); ++i) {
    for (const pid_t child : children_of(family[i])) family.push_back(child);
  }
  return family;
}

std::vector<pid_t> await_end_of(std::vector<pid_t> processes) {
  const auto deadline = steady_clock::now() + kPatience;
  while (!processes.empty() && steady_clock::now() < deadline) {
    std::erase_if(processes, [](pid_t pid) { return kill(pid, 0) != 0; });
    std::this_thread::yield();
  }
  return processes;
}

}  // namespace tessera::testing

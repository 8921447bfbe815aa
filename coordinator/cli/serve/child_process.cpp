#include "coordinator/cli/serve/child_process.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

#include "common/base/error.h"

namespace tessera {
namespace {

std::vector<char*> pointers(const std::vector<std::string>& texts) {
  std::vector<char*> result;
  for (const std::string& text : texts) result.push_back(const_cast<char*>(text.c_str()));
  result.push_back(nullptr);
  return result;
}

std::string_view name_of(std::string_view variable) {
  return variable.substr(0, variable.find('='));
}

std::vector<std::string> merged_environment(const std::vector<std::string>& own) {
  std::vector<std::string> merged = own;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    bool is_replaced = false;
    for (const std::string& other : own) is_replaced |= name_of(other) == name_of(*variable);
    if (!is_replaced) merged.emplace_back(*variable);
  }
  return merged;
}

/// What the child needs between fork and exec, where nothing may be allocated.
struct Launch {
  std::vector<char*> argv;
  std::vector<char*> envp;
  int output = -1;
  int inherited = -1;
  std::optional<cpu_set_t> cpus;
  pid_t parent = 0;
};

[[noreturn]] void become(const Launch& launch) {
  setsid();
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != launch.parent) _exit(127);  // it died before the line above
  const int null = open("/dev/null", O_RDONLY);
  dup2(null, STDIN_FILENO);
  dup2(launch.output, STDOUT_FILENO);
  dup2(launch.output, STDERR_FILENO);
  if (launch.inherited >= 0) fcntl(launch.inherited, F_SETFD, 0);
  if (launch.cpus) sched_setaffinity(0, sizeof(*launch.cpus), &*launch.cpus);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvpe(launch.argv[0], launch.argv.data(), launch.envp.data());
  dprintf(STDERR_FILENO, "cannot execute %s: %s\n", launch.argv[0], std::strerror(errno));
  _exit(127);
}

std::optional<cpu_set_t> cpu_set_of(const std::vector<int>& cpus) {
  if (cpus.empty()) return std::nullopt;
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(cpu, &set);
  return set;
}

/// State and session from /proc/PID/stat: "pid (name) state ppid pgrp session ...".
bool is_member(const std::filesystem::path& process, pid_t session) {
  std::ifstream file(process / "stat");
  std::string line;
  if (!std::getline(file, line)) return false;  // it has ended
  std::istringstream fields(line.substr(line.rfind(')') + 1));
  char state = 0;
  pid_t parent = 0;
  pid_t group = 0;
  pid_t its_session = 0;
  fields >> state >> parent >> group >> its_session;
  return its_session == session && state != 'Z' && state != 'X';
}

}  // namespace

ChildProcess::ChildProcess(const ChildCommand& command) {
  int pipe_ends[2];
  TESSERA_REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0, "pipe: ", std::strerror(errno));
  const std::vector<std::string> environment = merged_environment(command.environment);
  const Launch launch{pointers(command.arguments), pointers(environment),    pipe_ends[1],
                      command.inherited,           cpu_set_of(command.cpus), getpid()};
  pid_ = fork();
  if (pid_ == 0) become(launch);
  close(pipe_ends[1]);
  output_ = pipe_ends[0];
  fcntl(output_, F_SETFL, O_NONBLOCK);
  if (pid_ > 0) return;
  const int error = errno;
  close(output_);
  throw Error(ErrorCode::kInvalidArgument,
              detail::concat("cannot start ", command.arguments[0], ": ", std::strerror(error)));
}

ChildProcess::~ChildProcess() {
  kill_session();
  close(output_);
}

void ChildProcess::send_signal(int signal) const {
  kill(pid_, signal);
}

bool ChildProcess::kill_session() const {
  const std::vector<pid_t> members = processes_of_session(pid_);
  for (const pid_t member : members) kill(member, SIGKILL);
  return !members.empty();
}

bool ChildProcess::kill_followers() const {
  std::vector<pid_t> followers = processes_of_session(pid_);
  std::erase(followers, pid_);
  for (const pid_t follower : followers) kill(follower, SIGKILL);
  return !followers.empty();
}

void adopt_orphans() {
  TESSERA_CHECK(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0, "prctl: ", std::strerror(errno));
}

std::vector<pid_t> processes_of_session(pid_t session) {
  std::vector<pid_t> members;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), pid);
    const bool is_process = error == std::errc{} && end == name.data() + name.size();
    if (is_process && is_member(entry.path(), session)) members.push_back(pid);
  }
  return members;
}

}  // namespace tessera

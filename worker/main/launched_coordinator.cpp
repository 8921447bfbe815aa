#include "worker/main/launched_coordinator.h"

#include <signal.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <string_view>

#include "common/base/error.h"
#include "common/config/config.h"
#include "worker/comm/host_ranks.h"
#include "worker/main/job_facts.h"

namespace tessera {
namespace {

constexpr int kExitNotFound = 127;

// "tessera-coordinator" is the one beside this program, if there is one.
std::string program_path(const std::string& name) {
  if (name.find('/') != std::string::npos) return name;
  const auto sibling = std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
  return std::filesystem::exists(sibling) ? sibling.string() : name;
}

ServerConfig read_command(const std::vector<std::string>& command) {
  std::vector<const char*> argv;
  for (const std::string& word : command) argv.push_back(word.c_str());
  const auto config =
      read_config(Program::kCoordinator, static_cast<int>(argv.size()), argv.data(), std::cout);
  TESSERA_REQUIRE(config.has_value(), "the launcher's command only prints help");
  return *config;
}

// Workers of other hosts connect to a name, not to "every interface".
std::string connectable(const std::string& endpoint) {
  for (const std::string every : {"tcp://0.0.0.0:", "tcp://*:"}) {
    if (endpoint.starts_with(every))
      return "tcp://" + host_name() + ":" + endpoint.substr(every.size());
  }
  return endpoint;
}

std::string token_of(const ServerConfig& config, const std::string& token) {
  if (config.control_token_file.empty()) return token.empty() ? random_id() : token;
  std::string line;
  std::ifstream file(config.control_token_file);
  TESSERA_REQUIRE(std::getline(file, line) && !line.empty(), "cannot read a token from ",
                  config.control_token_file);
  return line;
}

std::vector<char*> pointers(std::vector<std::string>& words) {
  std::vector<char*> result;
  for (std::string& word : words) result.push_back(word.data());
  result.push_back(nullptr);
  return result;
}

std::vector<std::string> environment_with(const std::string& token) {
  std::vector<std::string> variables;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!std::string_view(*variable).starts_with("TESSERA_")) variables.emplace_back(*variable);
  }
  variables.push_back("TESSERA_CONTROL_TOKEN=" + token);
  variables.push_back("TESSERA_EXIT_ON_RANK_LOSS=1");
  return variables;
}

}  // namespace

CoordinatorCommand complete_command(const std::vector<std::string>& command,
                                    const std::string& token) {
  ServerConfig config = read_command(command);
  if (config.control_endpoint == ServerConfig{}.control_endpoint) {
    config.control_endpoint = "ipc://@tessera-" + random_id();  // no file: an abstract socket
  }
  TESSERA_REQUIRE(!config.control_endpoint.ends_with(":*"), "control_endpoint is ",
                  config.control_endpoint, "; in the one-job form it needs a port number");
  CoordinatorCommand completed;
  completed.words = config_flags(config, Program::kCoordinator);
  completed.words.insert(completed.words.begin(), program_path(command.front()));
  completed.endpoint = connectable(config.control_endpoint);
  completed.token = token_of(config, token);
  completed.log_level = config.log_level;
  completed.log_format = config.log_format;
  return completed;
}

pid_t start_coordinator(const CoordinatorCommand& command) {
  std::vector<std::string> words = command.words;
  std::vector<std::string> variables = environment_with(command.token);
  const std::vector<char*> argv = pointers(words);
  const std::vector<char*> envp = pointers(variables);
  const std::string failure = "cannot start " + words.front() + "\n";
  const pid_t parent = getpid();
  const pid_t pid = fork();
  TESSERA_CHECK(pid >= 0, "fork failed: ", std::strerror(errno));
  if (pid > 0) return pid;
  // Between fork and exec only calls that are safe while other threads hold locks.
  sigset_t none;
  sigemptyset(&none);
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  if (getppid() != parent) _exit(0);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  execvpe(argv[0], argv.data(), envp.data());
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, failure.data(), failure.size());
  _exit(kExitNotFound);
}

}  // namespace tessera

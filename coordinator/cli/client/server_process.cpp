#include "coordinator/cli/client/server_process.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "common/base/error.h"

namespace tessera {
namespace {

constexpr int kMaxWaits = 3000;  // of 100 ms: a large checkpoint loads for minutes
constexpr std::chrono::milliseconds kWait{100};

void wait_a_moment() {
  boost::asio::io_context loop;
  boost::asio::steady_timer timer(loop, kWait);
  timer.wait();
}

/// A port that was free a moment ago.
std::string free_port() {
  using boost::asio::ip::tcp;
  boost::asio::io_context loop;
  const tcp::acceptor acceptor(loop, tcp::endpoint(boost::asio::ip::address_v4::loopback(), 0));
  return std::to_string(acceptor.local_endpoint().port());
}

std::string create_log_file() {
  std::string path = (std::filesystem::temp_directory_path() / "tessera-serve-XXXXXX").string();
  const int file = ::mkstemp(path.data());
  TESSERA_REQUIRE(file >= 0, "cannot create ", path, ": ", std::strerror(errno));
  ::close(file);
  return path;
}

pid_t spawn(const std::vector<std::string>& command, const std::string& log_path) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, log_path.c_str(), O_WRONLY | O_APPEND,
                                     0);
  ::posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t pid = 0;
  const int failed = ::posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  TESSERA_REQUIRE(failed == 0, "cannot start ", command.front(), ": ", std::strerror(failed));
  return pid;
}

}  // namespace

std::string sibling_program(const std::string& name) {
  const std::filesystem::path path =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
  TESSERA_REQUIRE(std::filesystem::exists(path), path.string(), " is missing");
  return path.string();
}

ServerProcess::ServerProcess(const std::vector<std::string>& arguments)
    : url_{"127.0.0.1", free_port(), ""}, log_path_(create_log_file()) {
  std::vector<std::string> command = {sibling_program("tessera"), "serve"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.insert(command.end(), {"--host", url_.host, "--port", url_.port});
  pid_ = spawn(command, log_path_);
  try {
    await_ready();
  } catch (...) {
    stop();  // the destructor does not run for an object that was never complete
    throw;
  }
}

ServerProcess::~ServerProcess() {
  stop();
}

void ServerProcess::await_ready() {
  const HttpCall probe{url_, "/health/ready", "", "", std::chrono::seconds(2)};
  for (int waits = 0; waits < kMaxWaits; ++waits) {
    if (blocking_http_request(probe).is_ok()) return;
    if (::waitpid(pid_, nullptr, WNOHANG) == pid_) {
      pid_ = 0;
      throw Error(ErrorCode::kInvalidArgument, "the server did not start:\n" + end_of_log());
    }
    wait_a_moment();
  }
  throw Error(ErrorCode::kInvalidArgument, "the server did not become ready:\n" + end_of_log());
}

void ServerProcess::stop() noexcept {
  if (pid_ != 0) {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    pid_ = 0;
  }
  ::unlink(log_path_.c_str());
}

std::string ServerProcess::end_of_log() const {
  constexpr std::size_t kShown = 2000;
  std::ifstream file(log_path_);
  std::ostringstream text;
  text << file.rdbuf();
  const std::string all = text.str();
  return all.size() <= kShown ? all : "... " + all.substr(all.size() - kShown);
}

}  // namespace tessera

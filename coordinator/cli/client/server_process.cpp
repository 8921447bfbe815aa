#include "coordinator/cli/client/server_process.h"

#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstring>
#include <filesystem>

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

int create_log_file() {
  const int file = ::memfd_create("tessera-serve", MFD_CLOEXEC);
  TESSERA_REQUIRE(file >= 0, "cannot create a file in memory: ", std::strerror(errno));
  return file;
}

pid_t start(const std::vector<std::string>& command, int log) {
  std::vector<char*> argv;
  for (const std::string& argument : command) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  TESSERA_REQUIRE(pid >= 0, "cannot start ", command.front(), ": ", std::strerror(errno));
  if (pid > 0) return pid;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::dup2(log, STDOUT_FILENO);
  ::dup2(log, STDERR_FILENO);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

}  // namespace

std::string sibling_program(const std::string& name) {
  const std::filesystem::path path =
      std::filesystem::read_symlink("/proc/self/exe").parent_path() / name;
  TESSERA_REQUIRE(std::filesystem::exists(path), path.string(), " is missing");
  return path.string();
}

ServerProcess::ServerProcess(const std::vector<std::string>& arguments)
    : url_{"127.0.0.1", free_port(), ""}, log_(create_log_file()) {
  std::vector<std::string> command = {sibling_program("tessera"), "serve"};
  command.insert(command.end(), arguments.begin(), arguments.end());
  command.insert(command.end(), {"--host", url_.host, "--port", url_.port});
  pid_ = start(command, log_);
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
  ::close(log_);
}

std::string ServerProcess::end_of_log() const {
  constexpr std::size_t kShown = 2000;
  std::string all;
  std::array<char, 4096> piece;
  for (ssize_t size = 0;
       (size = ::pread(log_, piece.data(), piece.size(), static_cast<off_t>(all.size()))) > 0;) {
    all.append(piece.data(), static_cast<std::size_t>(size));
  }
  return all.size() <= kShown ? all : "... " + all.substr(all.size() - kShown);
}

}  // namespace tessera

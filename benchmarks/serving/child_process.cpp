#include "benchmarks/serving/child_process.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>

#include "common/base/error.h"

namespace tessera {

ChildProcess::ChildProcess(const std::function<void(const std::string&)>& work) {
  TESSERA_CHECK(::pipe(pipe_.data()) == 0, "no pipe");
  pid_ = ::fork();
  TESSERA_CHECK(pid_ >= 0, "no process");
  if (pid_ == 0) {
    ::close(pipe_[1]);
    std::array<char, 256> message{};
    const ssize_t num_read = ::read(pipe_[0], message.data(), message.size() - 1);
    try {
      if (num_read > 0) work(message.data());
    } catch (const Error& error) {
      std::fprintf(stderr, "engine_overhead: %s\n", error.what());
      ::_exit(1);
    }
    ::_exit(0);
  }
  ::close(pipe_[0]);
}

ChildProcess::~ChildProcess() {
  ::close(pipe_[1]);
  ::waitpid(pid_, nullptr, 0);
}

void ChildProcess::send(const std::string& message) {
  const auto size = static_cast<ssize_t>(message.size());
  TESSERA_CHECK(::write(pipe_[1], message.data(), message.size()) == size, "the pipe is cut");
}

}  // namespace tessera

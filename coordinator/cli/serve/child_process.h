#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace tessera {

struct ChildCommand {
  std::vector<std::string> arguments;    ///< The first is the program, found in PATH if no path.
  std::vector<std::string> environment;  ///< NAME=VALUE, in place of or beside our own variables.
  int inherited = -1;                    ///< A descriptor that the child keeps; -1: none.
  std::vector<int> cpus;                 ///< It and its children run on these; empty: on ours.
};

/// A child with a session of its own: a Ctrl-C of the terminal does not reach it, and whatever it
/// starts can be found and killed, even after its death and in other process groups (mpirun gives
/// each rank one). It gets a SIGTERM when we die.
///
/// For programs of one thread that are child subreapers (adopt_orphans) and reap all children in
/// one place: this class never waits. Standard input is empty, both outputs are one pipe.
class ChildProcess {
 public:
  /// @throws Error{kInvalidArgument} when the system refuses. A program that cannot be executed
  ///         says so on its output and exits with 127.
  explicit ChildProcess(const ChildCommand& command);

  /// Kills what is left of the session.
  ~ChildProcess();

  ChildProcess(const ChildProcess&) = delete;
  ChildProcess& operator=(const ChildProcess&) = delete;

  pid_t pid() const noexcept { return pid_; }

  /// Read end of the pipe, non-blocking.
  int output() const noexcept { return output_; }

  /// To the child alone, which passes it on as it sees fit.
  void send_signal(int signal) const;

  /// Kills every process of the session, stopped ones too.
  /// @return Whether there were any; call again until there are none.
  bool kill_session() const;

  /// Kills the others of the session and leaves the child to notice. @return As above.
  bool kill_followers() const;

 private:
  pid_t pid_ = -1;
  int output_ = -1;
};

/// Makes the orphans of our descendants our children, so that none can hide.
void adopt_orphans();

/// Living processes (zombies do not count) of a session.
std::vector<pid_t> processes_of_session(pid_t session);

}  // namespace tessera

#pragma once

#include <mutex>
#include <string>
#include <variant>
#include <vector>

#include "coordinator/request/sequence_request.h"
#include "coordinator/request/sequence_update.h"

namespace tessera {

struct CancelCommand {
  RequestId id = 0;
};
struct DrainCommand {};
struct FailAllCommand {
  SequenceFailure failure;
};
struct GiveUpCommand {
  std::string reason;
};
struct StopCommand {};

using EngineCommand = std::variant<SequenceRequest,
                                   CancelCommand,
                                   DrainCommand,
                                   FailAllCommand,
                                   GiveUpCommand,
                                   StopCommand>;

/// What other threads ask of the engine thread, in the order of their calls. Any thread pushes;
/// the engine thread takes. A push makes the wake-up descriptor readable until the next take.
class CommandQueue {
 public:
  CommandQueue();
  ~CommandQueue();
  CommandQueue(const CommandQueue&) = delete;
  CommandQueue& operator=(const CommandQueue&) = delete;

  void push(EngineCommand command);

  /// Everything pushed since the last call.
  std::vector<EngineCommand> take();

  /// For poll: readable when there is something to take.
  int wake_descriptor() const noexcept { return wake_; }

 private:
  std::mutex mutex_;
  std::vector<EngineCommand> commands_;  ///< Guarded by mutex_; not empty: `wake_` is readable.
  int wake_ = -1;
};

}  // namespace tessera

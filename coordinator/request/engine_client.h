#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/types.h"
#include "coordinator/request/sequence_request.h"
#include "coordinator/request/sequence_update.h"

namespace tessera {

/// Receives the updates of every sequence. Called on the engine thread, one call per engine step
/// with news: hand them over and return, never block.
class UpdateSink {
 public:
  virtual ~UpdateSink() = default;
  virtual void on_updates(std::vector<SequenceUpdate> updates) = 0;
};

struct RankStatus {
  std::int32_t rank = 0;
  std::string host;
  std::string device;  ///< Instruction set or GPU.
  bool up = false;
  std::chrono::milliseconds heartbeat_age{};
};

enum class ReplicaState : std::uint8_t { kStarting, kReady, kLost };

struct ReplicaStatus {
  ReplicaId id = 0;
  ReplicaState state = ReplicaState::kStarting;
  std::uint64_t epoch = 0;
  std::vector<RankStatus> ranks;
};

enum class ServerState : std::uint8_t { kStarting, kReady, kDraining, kFailed };

inline constexpr std::array<std::string_view, 4> kServerStateNames = {"starting", "ready",
                                                                      "draining", "failed"};

/// What health checks report.
struct ClusterStatus {
  ServerState state = ServerState::kStarting;
  std::string reason;  ///< Why it is not ready; empty when ready.
  std::vector<ReplicaStatus> replicas;
  std::int32_t num_running = 0;
  std::int32_t num_waiting = 0;
};

/// The engine as the front end sees it. Safe to call from any thread; no call blocks.
class EngineClient {
 public:
  virtual ~EngineClient() = default;

  /// Every submitted sequence gets updates until one is_last(), refusals included.
  virtual void submit(SequenceRequest request) = 0;

  /// Frees the pages of the sequence within one step; its last update says kCancelled. Unknown or
  /// finished ids are ignored: the client may be slower than the engine.
  virtual void cancel(RequestId id) = 0;

  /// A recent snapshot.
  virtual ClusterStatus status() const = 0;

  /// Why a sequence submitted now would fail whatever it is (a full queue, a server going down), as
  /// of the engine's last turn; none if it would be looked at. To be asked before work is put into
  /// a request.
  virtual std::optional<SequenceFailure> refusal() const = 0;
};

}  // namespace tessera

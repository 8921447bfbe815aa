#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <variant>

#include "common/base/error.h"
#include "common/decoding/step_plan.h"
#include "common/decoding/step_result.h"

namespace tessera::wire {

/// Bumped by every change of schema/frame.capnp. Peers of different versions refuse each other.
inline constexpr std::uint16_t kSchemaVersion = 2;

/// A rank asks to join: first message of every rank, sent once its weights are loaded.
struct Hello {
  std::string job_id;  ///< The same on all ranks of a job, unique among jobs; not empty.
  std::string token;   ///< Shared secret; empty where the coordinator asks for none.
  std::int32_t rank = 0;
  std::int32_t tp = 1;  ///< Ranks of the job.
  std::string host;
  std::string device;  ///< Instruction set or GPU.
  std::string checkpoint_digest;
  std::int64_t kv_bytes_per_token = 0;
  std::int64_t kv_memory_bytes = 0;
  bool expert_parallel = false;

  bool operator==(const Hello&) const = default;
};

/// The coordinator's answer once all ranks of the job are there. Carries the new epoch in its
/// frame. The rank allocates and says Ready.
struct Welcome {
  std::int32_t page_size = 0;
  std::int32_t num_pages = 0;
  std::int32_t max_step_rows = 0;
  std::int32_t max_model_len = 0;
  std::int32_t max_sequences = 0;
  std::chrono::milliseconds heartbeat_interval{};

  bool operator==(const Welcome&) const = default;
};

struct Ready {
  bool operator==(const Ready&) const = default;
};

/// Sign of life. Ranks send it on a connection of its own, beside the one of the steps, so that a
/// long step does not look dead; the coordinator answers on both (empty job and token).
struct Heartbeat {
  std::string job_id;
  std::string token;
  std::int32_t rank = 0;

  bool operator==(const Heartbeat&) const = default;
};

/// The last message of a rank that cannot go on.
struct RankFailure {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;

  bool operator==(const RankFailure&) const = default;
};

enum class GoodbyeKind : std::uint8_t {
  kShutdown,  ///< The server goes down: exit with 0.
  kRefused,   ///< The rank may not join: a matter of configuration.
  kLost,      ///< The replica is torn down because one of its ranks is gone or hangs.
};

/// The coordinator is done with a rank: leave.
struct Goodbye {
  GoodbyeKind kind = GoodbyeKind::kShutdown;
  std::string reason;

  bool operator==(const Goodbye&) const = default;
};

using Message =
    std::variant<Hello, Welcome, Ready, Heartbeat, RankFailure, Goodbye, StepPlan, StepResult>;

/// What one ZeroMQ message holds.
struct Frame {
  std::uint64_t epoch = 0;  ///< Of the replica; 0 before Welcome.
  std::uint64_t step = 0;   ///< 0 in messages that belong to no step.
  Message message;
};

}  // namespace tessera::wire

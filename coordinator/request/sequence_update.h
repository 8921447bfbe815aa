#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/types.h"
#include "common/decoding/sequence.h"
#include "strategies/strategy.h"

namespace tessera {

/// Why a sequence ended without finishing.
enum class FailureReason : std::uint8_t {
  kInvalid,           ///< It can never run (longer than all pages, ...): 400
  kQueueFull,         ///< 429
  kDraining,          ///< The server is going down: 503
  kRankLost,          ///< No replica is left that could go on: 503
  kDeadlineExceeded,  ///< 408
  kCancelled,         ///< The client is gone or said so.
  kEngineFailed,      ///< A bug of ours ended the engine: 503
};

struct SequenceFailure {
  FailureReason reason = FailureReason::kCancelled;
  std::string message;  ///< For the client: what happened and what to do.
};

/// Totals of a sequence, final with its last update.
struct SequenceUsage {
  std::int32_t prompt_tokens = 0;
  std::int32_t cached_tokens = 0;  ///< Prompt tokens found in the prefix cache at first admission.
  std::int32_t output_tokens = 0;
  std::int32_t num_steps = 0;             ///< NFE
  std::int32_t num_store_only_steps = 0;  ///< Of those, steps that measured nothing.
  std::int32_t num_preemptions = 0;
  Duration queued{};  ///< From submission to the first step that contains it.
};

/// News of one sequence after a step, in order. The last one has `finish` or `failure`.
struct SequenceUpdate {
  RequestId id = 0;
  std::vector<TokenId> frozen;  ///< Output tokens that became final; they follow the earlier ones.
  std::vector<TokenWrite> writes;  ///< wants_edits: what the step wrote, frozen or not.
  std::int32_t num_steps = 0;
  std::optional<FinishReason> finish;
  std::optional<SequenceFailure> failure;
  SequenceUsage usage;

  bool is_last() const { return finish.has_value() || failure.has_value(); }
};

}  // namespace tessera

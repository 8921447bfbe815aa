#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "common/base/clock.h"
#include "common/base/types.h"
#include "common/decoding/sampling.h"
#include "strategies/strategy.h"

namespace tessera {

/// One sequence to decode; a client's request with n > 1 is n of them. Complete and valid: the
/// front end has resolved every default and bound.
struct SequenceRequest {
  RequestId id = 0;  ///< Unique in the life of the coordinator; chosen by the front end, from 1.
  std::vector<TokenId> prompt;
  std::shared_ptr<const Strategy> strategy;
  SamplingParams sampling;
  SequenceLimits limits;
  std::int32_t priority = 0;          ///< Higher runs first and is preempted last.
  std::optional<TimePoint> deadline;  ///< Fails with kDeadlineExceeded when it passes.
  bool wants_edits = false;           ///< Report provisional writes, not only frozen tokens.
};

}  // namespace tessera

#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/types.h"
#include "common/metrics/latency_histogram.h"
#include "common/wire/channel.h"
#include "common/wire/messages.h"
#include "coordinator/cluster/cluster_options.h"
#include "coordinator/request/cluster_metrics.h"

namespace tessera {

/// A rank that said Hello.
struct RankEntry {
  wire::PeerId peer;        ///< Connection of the steps.
  wire::PeerId pulse_peer;  ///< Connection of the heartbeats; empty before the first one.
  wire::Hello hello;
  bool is_ready = false;
  TimePoint last_heard;
  StepTiming total;  ///< Of all steps.
};

/// The step that a replica is running.
struct StepInFlight {
  std::uint64_t step = 0;
  TimePoint sent_at;
  Duration scheduling{};
  std::int32_t num_answers = 0;
  std::vector<bool> has_answered;  ///< By rank.
  StepResult result;               ///< Rank 0's, once it is there.
  StepTiming slowest;              ///< Maximum over the ranks that answered.
};

/// One job of tensor-parallel ranks from its first Hello to its loss.
///
///     kGathering --all ranks said Hello--> kConfiguring --all are ready--> kRunning
///          \____________________________________\____________________________\--> kLost
struct ReplicaEntry {
  enum class Phase : std::uint8_t { kGathering, kConfiguring, kRunning, kLost };

  ReplicaId id = 0;
  std::string job_id;
  Phase phase = Phase::kGathering;
  std::uint64_t epoch = 0;  ///< 0 while gathering.
  std::int32_t num_pages = 0;
  TimePoint join_deadline;
  std::vector<std::optional<RankEntry>> ranks;  ///< By rank.
  std::optional<StepInFlight> outstanding;
  std::uint64_t num_restarts = 0;
  std::array<LatencyHistogram, kStepPhaseNames.size()> step_seconds;

  std::int32_t tp() const { return static_cast<std::int32_t>(ranks.size()); }
  bool is_lost() const { return phase == Phase::kLost; }
  bool has_all_ranks() const;
  bool is_all_ready() const;

  /// "rank 1 on host-b", for messages.
  std::string name_of_rank(std::int32_t rank) const;

  /// Ranks that have not said Hello, or not said Ready, or not answered the step: "1, 3".
  std::string missing_ranks() const;

  ReplicaStatus status(TimePoint now) const;
};

/// Why a rank may not join; empty if it may.
///
/// @param replica  The job's replica, none if it is the first rank of its job.
/// @param other    A replica that runs already, if any: results must not depend on the replica, so
///                 that checkpoint and device are the same everywhere.
std::string refusal(const wire::Hello& hello,
                    const ClusterOptions& options,
                    const ReplicaEntry* replica,
                    const ReplicaEntry* other);

/// Pages that every rank of the replica can hold. All ranks are there.
std::int32_t common_num_pages(const ReplicaEntry& replica, std::int32_t page_size);

}  // namespace tessera

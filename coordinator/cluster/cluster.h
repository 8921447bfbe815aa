#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/base/clock.h"
#include "coordinator/cluster/cluster_event.h"
#include "coordinator/cluster/cluster_options.h"
#include "coordinator/cluster/rank_transport.h"
#include "coordinator/cluster/replica_entry.h"
#include "coordinator/request/cluster_metrics.h"
#include "coordinator/scheduling/engine.h"

namespace tessera {

/// Connects the engine with the ranks: who is there, who is dead, which step runs where. Has no
/// thread, socket or clock of its own, so that a simulation can drive it.
///
/// A rank is dead when its connection closes (as it does with its process, or within a second of
/// its machine) or when it reports a failure. It hangs when it is silent for heartbeat_timeout or
/// does not answer a step within step_timeout; a rank that a busy machine does not run for a while
/// is neither. Then its whole replica is torn down: every rank of it is told to leave, and the
/// engine rebuilds the requests elsewhere. When nobody is left who could run them and nobody
/// restarts replicas, they end with kRankLost, and so do later ones until a replica joins.
///
/// A step is complete when all ranks have answered. Answers of an old epoch or of another step are
/// dropped; answers that do not decode or do not fit cost the replica.
///
/// Owned by the engine thread. Borrows everything it is given.
class Cluster {
 public:
  Cluster(const ClusterOptions& options,
          Engine& engine,
          RankTransport& transport,
          const Clock& clock,
          ClusterListener listener);

  /// Takes a message of any peer, known or not.
  void on_message(const wire::PeerId& peer, std::span<const std::byte> bytes);

  /// Sends heartbeats and finds what has timed out. Cheap when nothing is due. Messages that have
  /// arrived must be handed over first.
  void on_time();

  /// When on_time() has something to do next.
  TimePoint next_wakeup() const;

  /// Sends the next step to every replica that has none and has something to do.
  void start_steps();

  /// To be called after Engine::submit: ends what nobody will ever run.
  void refuse_if_failed();

  /// The supervisor does not restart replicas any more.
  void give_up(const std::string& reason);

  /// Tells all ranks to exit. The cluster is done afterwards.
  void shut_down();

  ServerState state() const;
  std::string reason() const;  ///< Why it is not ready; empty when ready.
  std::vector<ReplicaStatus> replicas() const;
  std::vector<ReplicaMetrics> replica_metrics() const;

 private:
  struct PeerEntry {
    std::size_t replica = 0;  ///< Index into replicas_.
    std::int32_t rank = 0;
  };

  void on_hello(const wire::PeerId& peer, const wire::Hello& hello);
  void on_heartbeat(const wire::PeerId& peer, const wire::Heartbeat& heartbeat);
  void on_rank_message(const PeerEntry& from, const wire::Frame& frame);
  void on_ready(ReplicaEntry& replica, RankEntry& rank, std::uint64_t epoch);
  void on_result(ReplicaEntry& replica, std::int32_t rank, const StepResult& result);
  void finish_step(ReplicaEntry& replica);
  void start_step(ReplicaEntry& replica);

  ReplicaEntry* find_job(const std::string& job_id);
  ReplicaEntry& replica_for(const wire::Hello& hello);
  void configure(ReplicaEntry& replica);
  void refuse(const wire::PeerId& peer, const wire::Hello& hello, const std::string& why);
  void lose(ReplicaEntry& replica, const std::string& why);
  void fail_if_nobody_is_left(const std::string& why);
  void send_heartbeats(ReplicaEntry& replica);
  void check_timeouts(ReplicaEntry& replica, TimePoint now);
  bool send(ReplicaEntry& replica, std::int32_t rank, std::span<const std::byte> bytes);
  void say_goodbye(const ReplicaEntry& replica, wire::GoodbyeKind kind, const std::string& reason);
  void forget_peers(const ReplicaEntry& replica);
  void emit(ClusterEventKind kind, const ReplicaEntry* replica, std::string text) const;

  ClusterOptions options_;
  Engine& engine_;
  RankTransport& transport_;
  const Clock& clock_;
  ClusterListener listener_;
  std::vector<std::unique_ptr<ReplicaEntry>> replicas_;  ///< By id; addresses stay.
  std::unordered_map<wire::PeerId, PeerEntry> peers_;
  std::uint64_t last_epoch_ = 0;
  TimePoint last_tick_;
  bool supervised_;
  std::string failure_;  ///< Why nobody is left; empty while somebody is or may come.
  std::uint64_t num_foreign_frames_ = 0;
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "coordinator/scheduling/engine.h"
#include "tests/coordinator/scheduling/manual_clock.h"
#include "tests/support/hash_executor.h"

namespace tessera {

/// What became of one request.
struct SimulatedRequest {
  SequenceRequest request;
  std::vector<TokenId> tokens;  ///< Frozen ones as they were streamed.
  bool was_cancelled = false;
  std::optional<SequenceUpdate> last;
};

/// A whole cluster in one thread, from one seed: an engine, replicas that run the hash model, and
/// clients that submit, cancel and run out of time; replicas die in the middle of a step, their
/// results arrive late, and they come back empty. The geometry, the pools (often too small for what
/// runs) and the order of events are drawn from the seed. The engine's integrity is checked after
/// each event.
class ClusterSimulator {
 public:
  explicit ClusterSimulator(std::uint32_t seed);

  /// Runs until every request has its last update.
  /// @return False if that takes more events than a cluster that makes progress could need.
  [[nodiscard]] bool run();

  const std::map<RequestId, SimulatedRequest>& requests() const { return requests_; }
  EngineStats stats() const { return engine_->stats(); }
  const ModelFacts& facts() const { return facts_; }
  std::uint64_t model_seed() const { return model_seed_; }
  std::int32_t page_size() const { return options_.page_size; }
  std::int32_t num_pages() const { return num_pages_; }
  std::int32_t max_step_rows() const { return options_.max_step_rows; }

 private:
  struct Rank {
    std::unique_ptr<HashExecutor> executor;
    bool is_up = false;
    std::optional<StepResult> result;  ///< Computed, not delivered yet.
  };

  std::uint32_t draw(std::uint32_t bound) { return rng_() % bound; }
  void draw_geometry();
  void submit_one();
  SequenceRequest random_request();
  std::unique_ptr<const Strategy> random_strategy();
  void cancel_one();
  void lose_or_restore(ReplicaId id);
  void restore(ReplicaId id);
  void step(ReplicaId id);
  void act();
  void take_updates();

  std::mt19937 rng_;
  ManualClock clock_;
  ModelFacts facts_;
  EngineOptions options_;
  std::uint64_t model_seed_;
  std::int32_t num_pages_ = 0;
  std::uint32_t num_to_submit_ = 0;
  bool has_trouble_ = false;  ///< Cancellations, deadlines and losses, not only load.
  std::unique_ptr<Engine> engine_;
  std::map<ReplicaId, Rank> replicas_;
  std::map<RequestId, SimulatedRequest> requests_;
  std::vector<std::vector<TokenId>> prefixes_;          ///< Prompts begin with one of them.
  std::vector<std::pair<ReplicaId, StepResult>> late_;  ///< Results of replicas that were lost.
  std::uint64_t next_epoch_ = 1;
  std::size_t num_open_ = 0;
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "common/wire/codec.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/scheduling/engine.h"
#include "tests/coordinator/scheduling/manual_clock.h"
#include "tests/support/hash_executor.h"

namespace tessera {

/// A coordinator's cluster and its ranks in one thread, from one seed: real frames over a wire that
/// takes its time, ranks that die, hang, fall silent or send what is no frame, strangers, jobs that
/// start again. The engine's integrity is checked after every millisecond.
class WireSimulation {
 public:
  explicit WireSimulation(std::uint32_t seed);

  struct Outcome {
    SequenceRequest request;
    std::vector<TokenId> tokens;
    std::optional<SequenceUpdate> last;
  };

  /// Runs until every request has its last update.
  /// @return False if that takes longer than a cluster that makes progress could need.
  [[nodiscard]] bool run();

  const std::map<RequestId, Outcome>& requests() const { return requests_; }
  int num_lost() const { return num_lost_; }
  static ModelFacts facts();
  std::uint64_t seed() const { return seed_; }

 private:
  struct Rank {
    std::string job;
    std::int32_t rank = 0;
    std::int32_t tp = 1;
    std::unique_ptr<HashExecutor> executor;
    std::uint64_t epoch = 0;
    bool is_connected = true;
    bool is_hanging = false;  ///< Answers no step; its pulse goes on.
    bool is_silent = false;   ///< Not even that.
  };
  struct Letter {
    TimePoint due;
    std::string peer;  ///< From or to whom.
    wire::Bytes bytes;
  };
  class Transport final : public RankTransport {
   public:
    explicit Transport(WireSimulation& simulation) : simulation_(simulation) {}
    wire::SendOutcome send(const wire::PeerId& peer, std::span<const std::byte> bytes) override;

   private:
    WireSimulation& simulation_;
  };

  std::uint32_t draw(std::uint32_t bound) { return rng_() % bound; }
  void start_job();
  void submit();
  void make_trouble();
  void tick();
  void pulse(const std::string& peer, const Rank& rank);
  void post(const std::string& peer, wire::Bytes bytes);
  void deliver_to_coordinator();
  void deliver_to_ranks();
  void receive(const std::string& peer, Rank& rank, const wire::Bytes& bytes);
  void take_updates();

  std::uint32_t seed_;
  std::mt19937 rng_;
  ManualClock clock_;
  ClusterOptions options_;
  std::unique_ptr<Engine> engine_;
  Transport transport_{*this};
  std::unique_ptr<Cluster> cluster_;
  std::map<std::string, Rank> ranks_;  ///< By peer.
  std::vector<Letter> to_coordinator_;
  std::vector<Letter> to_ranks_;
  std::map<RequestId, Outcome> requests_;
  std::size_t num_open_ = 0;
  std::uint32_t num_to_submit_ = 0;
  int num_jobs_ = 0;
  int num_wanted_jobs_ = 1;
  int num_lost_ = 0;
  int troubles_left_ = 0;
};

}  // namespace tessera

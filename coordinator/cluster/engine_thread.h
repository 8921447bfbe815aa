#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>
#include <zmq.hpp>

#include "common/base/clock.h"
#include "common/wire/channel.h"
#include "coordinator/cluster/cluster.h"
#include "coordinator/cluster/command_queue.h"
#include "coordinator/request/engine_client.h"
#include "coordinator/scheduling/engine.h"

namespace tessera {

/// Runs the engine and the cluster on a thread of their own: one loop over the ranks' socket, the
/// other threads' commands and time. Every loop hands the news to the sink in one call.
///
/// Order of use: construct (binds), start(), ..., drain(), fail_all(), stop(). Every call is safe
/// from any thread, except start and stop, which belong to the owner.
class EngineThread final : public EngineClient {
 public:
  /// @param endpoint  See wire::RouterChannel. @throws Error{kTransport} if it cannot be bound.
  /// @param sink, clock, listener  Outlive stop().
  EngineThread(const EngineOptions& engine_options,
               const ClusterOptions& cluster_options,
               const std::string& endpoint,
               UpdateSink& sink,
               const Clock& clock,
               ClusterListener listener);
  ~EngineThread() override;

  /// Where ranks connect to.
  const std::string& endpoint() const noexcept { return router_.endpoint(); }

  void start();

  void submit(SequenceRequest request) override;
  void cancel(RequestId id) override;
  ClusterStatus status() const override;
  std::optional<SequenceFailure> refusal() const override;
  ClusterMetrics metrics() const;

  /// Refuses new work; what was accepted goes on.
  void drain();

  /// Ends everything that runs or waits.
  void fail_all(SequenceFailure failure);

  /// The supervisor does not restart replicas any more.
  void give_up(std::string reason);

  /// Tells the ranks to exit and joins the thread.
  void stop();

 private:
  class RouterTransport final : public RankTransport {
   public:
    explicit RouterTransport(wire::RouterChannel& router) : router_(router) {}
    wire::SendOutcome send(const wire::PeerId& peer, std::span<const std::byte> bytes) override {
      return router_.send(peer, bytes);
    }

   private:
    wire::RouterChannel& router_;
  };

  void run();
  void loop();
  void wait();
  void take_commands();
  void execute(EngineCommand command);
  void take_messages();
  void deliver_updates();
  void publish();
  void publish_refusal();
  void tell_events();
  void publish_failure(const std::string& reason);

  UpdateSink& sink_;
  const Clock& clock_;
  ClusterListener listener_;
  std::vector<ClusterEvent> events_;  ///< Told once the status they lead to is published.
  zmq::context_t context_;
  wire::RouterChannel router_;
  RouterTransport transport_;
  Engine engine_;
  Cluster cluster_;
  CommandQueue commands_;
  bool is_draining_ = false;  ///< Engine thread.
  bool is_stopping_ = false;  ///< Engine thread.
  TimePoint next_publication_;
  bool is_publication_due_ = false;  ///< Something may have happened since the last one.

  mutable std::mutex published_mutex_;
  ClusterStatus status_;  ///< Guarded by published_mutex_; a copy at most 50 ms old.
  std::optional<SequenceFailure> refusal_;  ///< Guarded by published_mutex_; of the last turn.
  ClusterMetrics metrics_;                  ///< Guarded by published_mutex_; of the same moment.

  std::thread thread_;
};

}  // namespace tessera

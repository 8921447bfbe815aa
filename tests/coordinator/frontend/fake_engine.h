#pragma once

#include <condition_variable>
#include <functional>
#include <mutex>
#include <vector>

#include "coordinator/request/engine_client.h"

namespace tessera::testing {

/// An engine that does what the test says: keeps what was submitted and cancelled, and sends the
/// updates it is given. Any thread.
class FakeEngine final : public EngineClient {
 public:
  explicit FakeEngine(UpdateSink& sink) : sink_(sink) { status_.state = ServerState::kReady; }

  void submit(SequenceRequest request) override {
    SequenceUpdate end;
    end.id = request.id;
    end.finish = FinishReason::kMaxTokens;
    bool ends_it = false;
    change([&] {
      submitted_.push_back(std::move(request));
      ends_it = ends_everything_;
    });
    if (ends_it) send(std::move(end));
  }

  /// From now on every sequence ends without a token as soon as it is submitted.
  void end_everything() {
    change([&] { ends_everything_ = true; });
  }

  void cancel(RequestId id) override {
    change([&] { cancelled_.push_back(id); });
  }

  ClusterStatus status() const override {
    const std::lock_guard lock(mutex_);
    return status_;
  }

  std::optional<SequenceFailure> refusal() const override {
    const std::lock_guard lock(mutex_);
    return refusal_;
  }

  /// From now on the engine says beforehand that it would refuse; none: that it would not.
  void set_refusal(std::optional<SequenceFailure> refusal) {
    change([&] { refusal_ = std::move(refusal); });
  }

  void set_state(ServerState state, std::string reason) {
    change([&] { status_.state = state, status_.reason = std::move(reason); });
  }

  /// Waits for the n-th submission, counted from 1. Fails the process' test by its time limit.
  SequenceRequest wait_submitted(std::size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return submitted_.size() >= n; });
    return submitted_[n - 1];
  }

  std::vector<RequestId> wait_cancelled(std::size_t n) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return cancelled_.size() >= n; });
    return cancelled_;
  }

  std::size_t num_submitted() const {
    const std::lock_guard lock(mutex_);
    return submitted_.size();
  }

  void send(SequenceUpdate update) {
    std::vector<SequenceUpdate> updates;
    updates.push_back(std::move(update));
    sink_.on_updates(std::move(updates));
  }

 private:
  void change(const std::function<void()>& what) {
    const std::lock_guard lock(mutex_);
    what();
    changed_.notify_all();
  }

  UpdateSink& sink_;
  mutable std::mutex mutex_;  ///< Guards everything below.
  std::condition_variable changed_;
  std::vector<SequenceRequest> submitted_;
  std::vector<RequestId> cancelled_;
  ClusterStatus status_;
  std::optional<SequenceFailure> refusal_;
  bool ends_everything_ = false;
};

}  // namespace tessera::testing

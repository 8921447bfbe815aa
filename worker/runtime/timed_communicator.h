#pragma once

#include <memory>
#include <utility>

#include "common/base/clock.h"
#include "worker/comm/communicator.h"

namespace tessera {

/// A communicator that knows how long its callers were in it, waiting for other ranks included.
class TimedCommunicator final : public Communicator {
 public:
  TimedCommunicator(std::unique_ptr<Communicator> communicator, const Clock& clock)
      : communicator_(std::move(communicator)), clock_(clock) {}

  /// Time spent since the last call.
  Duration take_time() { return std::exchange(time_, Duration{}); }

  std::int32_t rank() const override { return communicator_->rank(); }
  std::int32_t size() const override { return communicator_->size(); }
  void all_reduce_tree(std::span<float> values) override {
    timed([&] { communicator_->all_reduce_tree(values); });
  }
  void all_reduce_sum(std::span<std::uint64_t> values) override {
    timed([&] { communicator_->all_reduce_sum(values); });
  }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    timed([&] { communicator_->all_gather(mine, all); });
  }
  void broadcast(std::span<std::byte> bytes, std::int32_t root) override {
    timed([&] { communicator_->broadcast(bytes, root); });
  }
  void barrier() override {
    timed([&] { communicator_->barrier(); });
  }

 private:
  template <typename Call>
  void timed(const Call& call) {
    const TimePoint begin = clock_.now();
    call();
    time_ += clock_.now() - begin;
  }

  std::unique_ptr<Communicator> communicator_;
  const Clock& clock_;
  Duration time_{};
};

}  // namespace tessera

#include "tests/worker/support/thread_communicator.h"

#include <algorithm>
#include <barrier>

#include "kernels/partition.h"

namespace tessera {
namespace {

struct Meeting {
  explicit Meeting(std::int32_t size) : barrier(size), shown(static_cast<std::size_t>(size)) {}

  std::barrier<> barrier;
  std::vector<std::span<std::byte>> shown;  // by rank
};

class ThreadCommunicator final : public Communicator {
 public:
  ThreadCommunicator(std::shared_ptr<Meeting> meeting, std::int32_t rank)
      : meeting_(std::move(meeting)), rank_(rank) {}

  std::int32_t rank() const override { return rank_; }
  std::int32_t size() const override { return static_cast<std::int32_t>(meeting_->shown.size()); }

  void all_reduce_tree(std::span<float> values) override {
    std::vector<std::vector<float>> all;
    exchange(std::as_writable_bytes(values), [&] {
      for (const auto bytes : meeting_->shown) {
        const auto* data = reinterpret_cast<const float*>(bytes.data());
        all.emplace_back(data, data + values.size());
      }
    });
    kernels::for_each_branch(size(), [&](std::int32_t left, std::int32_t right) {
      auto& sum = all[static_cast<std::size_t>(left)];
      const auto& other = all[static_cast<std::size_t>(right)];
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
    });
    std::copy(all[0].begin(), all[0].end(), values.begin());
  }

  void all_reduce_sum(std::span<std::uint64_t> values) override {
    std::vector<std::uint64_t> sum(values.size());
    exchange(std::as_writable_bytes(values), [&] {
      for (const auto bytes : meeting_->shown) {
        const auto* data = reinterpret_cast<const std::uint64_t*>(bytes.data());
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += data[i];
      }
    });
    std::copy(sum.begin(), sum.end(), values.begin());
  }

  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    std::vector<std::byte> copy(mine.begin(), mine.end());
    exchange(copy, [&] {
      std::byte* out = all.data();
      for (const auto bytes : meeting_->shown) out = std::copy(bytes.begin(), bytes.end(), out);
    });
  }

  void broadcast(std::span<std::byte> bytes, std::int32_t root) override {
    std::vector<std::byte> copy(bytes.begin(), bytes.end());
    exchange(copy, [&] {
      const auto shown = meeting_->shown[static_cast<std::size_t>(root)];
      std::copy(shown.begin(), shown.end(), bytes.begin());
    });
  }

  void barrier() override { meeting_->barrier.arrive_and_wait(); }

 private:
  // Between the barriers everybody may read what all have shown.
  template <typename Read>
  void exchange(std::span<std::byte> mine, const Read& read) {
    meeting_->shown[static_cast<std::size_t>(rank_)] = mine;
    meeting_->barrier.arrive_and_wait();
    read();
    meeting_->barrier.arrive_and_wait();
  }

  std::shared_ptr<Meeting> meeting_;
  std::int32_t rank_;
};

}  // namespace

std::vector<std::unique_ptr<Communicator>> thread_communicators(std::int32_t size) {
  const auto meeting = std::make_shared<Meeting>(size);
  std::vector<std::unique_ptr<Communicator>> communicators;
  for (std::int32_t rank = 0; rank < size; ++rank) {
    communicators.push_back(std::make_unique<ThreadCommunicator>(meeting, rank));
  }
  return communicators;
}

}  // namespace tessera

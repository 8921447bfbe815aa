#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/ops.h"
#include "worker/comm/communicator.h"
#include "worker/comm/tensor_sum.h"

namespace tessera::testing {

/// A communicator whose sums are those of a TensorSum, so that the contract of the one is checked
/// for the other. Values lie between guards in memory of the back end; an odd number of them begins
/// 4 bytes off.
class SummingCommunicator final : public Communicator {
 public:
  /// Values of the largest sum that a case of the contract makes.
  static constexpr std::int64_t kMaxCount = 524301;

  SummingCommunicator(Communicator& communicator, kernels::Backend& backend, TensorSum& sum)
      : communicator_(communicator),
        backend_(backend),
        sum_(sum),
        memory_(backend.allocate((kMaxCount + 2 * kGuards) * kFloatBytes)) {}

  std::int32_t rank() const override { return communicator_.rank(); }
  std::int32_t size() const override { return communicator_.size(); }

  void all_reduce_tree(std::span<float> values) override {
    const std::size_t begin = values.size() % 2 == 0 ? kGuards : kGuards + 1;
    std::vector<float> host(values.size() + 2 * kGuards, kGuard);
    const auto num_bytes = static_cast<std::int64_t>(host.size() * sizeof(float));
    std::copy(values.begin(), values.end(), host.begin() + static_cast<std::ptrdiff_t>(begin));
    backend_.upload(host.data(), memory_.data(), num_bytes);
    sum_.all_reduce_tree(memory_.values<float>().subspan(begin, values.size()));
    backend_.download(memory_.data(), host.data(), num_bytes);
    for (std::size_t i = 0; i < host.size(); ++i) {
      const bool is_value = i >= begin && i < begin + values.size();
      if (is_value) {
        values[i - begin] = host[i];
      } else {
        EXPECT_EQ(host[i], kGuard) << "written beside " << values.size() << " values, at " << i;
      }
    }
  }

  void all_reduce_sum(std::span<std::uint64_t> values) override {
    communicator_.all_reduce_sum(values);
  }
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override {
    communicator_.all_gather(mine, all);
  }
  void broadcast(std::span<std::byte> bytes, std::int32_t root) override {
    communicator_.broadcast(bytes, root);
  }
  void barrier() override { communicator_.barrier(); }

 private:
  static constexpr std::size_t kGuards = 4;
  static constexpr float kGuard = 12345.0F;
  static constexpr std::int64_t kFloatBytes = sizeof(float);

  Communicator& communicator_;
  kernels::Backend& backend_;
  TensorSum& sum_;
  kernels::Buffer memory_;
};

}  // namespace tessera::testing

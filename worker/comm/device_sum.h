#pragma once

#include "kernels/ops.h"
#include "worker/comm/device_exchange.h"
#include "worker/comm/tensor_sum.h"

namespace tessera {

/// TensorSum that stays on the devices: partial sums travel, Backend::sum_parts adds them.
///
///     few values:  every rank gets all of every rank's, and adds them all
///     many:        every rank gets its slice of every rank's, adds it, and all gather the sums:
///                  2 (size - 1) / size of the values travel, as in a ring, but added in the order
///                  of the tree
class DeviceSum final : public TensorSum {
 public:
  /// Values up to which a sum is made in one round: a second one takes longer than what the first
  /// sends in excess of two.
  static std::int64_t one_round_count(std::int32_t num_ranks);

  /// Collective: sums once each way, so that what is set up on first use is there. Borrows both.
  DeviceSum(DeviceExchange& exchange, kernels::Backend& backend, std::int64_t max_count);

  void all_reduce_tree(std::span<float> values) override;
  bool is_capturable() const override { return true; }

 private:
  void sum_in_one_round(std::span<float> values);
  void sum_in_two_rounds(std::span<float> values);

  DeviceExchange& exchange_;
  kernels::Backend& backend_;
  std::int64_t max_count_;
  kernels::Buffer parts_;  // of every rank
};

}  // namespace tessera

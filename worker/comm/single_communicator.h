#pragma once

#include "worker/comm/communicator.h"

namespace tessera {

/// The communicator of a rank that has no others.
class SingleCommunicator final : public Communicator {
 public:
  std::int32_t rank() const override { return 0; }
  std::int32_t size() const override { return 1; }
  void all_reduce_tree(std::span<float> values) override;
  void all_reduce_sum(std::span<std::uint64_t> values) override;
  void all_gather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  void broadcast(std::span<std::byte> bytes, std::int32_t root) override;
  void barrier() override {}
};

}  // namespace tessera

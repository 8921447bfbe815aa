#include "worker/comm/single_communicator.h"

#include <cstring>

#include "common/base/error.h"

namespace tessera {

// The sum over one rank is its value.
void SingleCommunicator::all_reduce_tree(std::span<float> /*values*/) {}
void SingleCommunicator::all_reduce_sum(std::span<std::uint64_t> /*values*/) {}

void SingleCommunicator::all_gather(std::span<const std::byte> mine, std::span<std::byte> all) {
  TESSERA_REQUIRE(all.size() == mine.size(), "all_gather of ", mine.size(),
                  " bytes of 1 ranks into ", all.size());
  if (!mine.empty()) std::memmove(all.data(), mine.data(), mine.size());
}

void SingleCommunicator::broadcast(std::span<std::byte> /*bytes*/, std::int32_t root) {
  TESSERA_REQUIRE(root == 0, "broadcast from rank ", root, " of 1");
}

}  // namespace tessera

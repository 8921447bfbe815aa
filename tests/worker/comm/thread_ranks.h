#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "worker/comm/shared_memory_exchange.h"
#include "worker/comm/slot_communicator.h"

namespace tessera::testing {

/// Calls `work` once per rank, each on a thread with a shared-memory communicator.
inline void run_thread_ranks(std::int32_t size,
                             const WaitOptions& wait,
                             const std::function<void(Communicator&)>& work) {
  const std::size_t bytes = SharedMemoryExchange::region_bytes(size);
  const SharedRegion region = SharedRegion::create("tessera-test", bytes);
  std::vector<std::thread> threads;
  for (std::int32_t rank = 0; rank < size; ++rank) {
    threads.emplace_back([&, rank] {
      SlotCommunicator communicator(std::make_unique<SharedMemoryExchange>(
          SharedRegion::open(region.path(), bytes), rank, size, wait));
      work(communicator);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace tessera::testing

#pragma once

#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

namespace tessera {

/// Calls work(rank) for every rank at once, each on a thread of its own, and waits for all.
/// Rethrows what the lowest rank threw.
template <typename Work>
void on_ranks(std::int32_t size, const Work& work) {
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(size));
  const auto run = [&](std::int32_t rank) {
    try {
      work(rank);
    } catch (...) {
      failures[static_cast<std::size_t>(rank)] = std::current_exception();
    }
  };
  std::vector<std::thread> threads;
  for (std::int32_t rank = 1; rank < size; ++rank) threads.emplace_back(run, rank);
  run(0);
  for (std::thread& thread : threads) thread.join();
  for (const std::exception_ptr& failure : failures) {
    if (failure) std::rethrow_exception(failure);
  }
}

}  // namespace tessera

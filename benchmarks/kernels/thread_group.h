#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <thread>
#include <vector>

namespace tessera::benchmarks {

/// Threads pinned to CPUs 0, 1, ..., the calling thread being the first. They spin between calls:
/// a measurement must not include waking them.
class ThreadGroup {
 public:
  explicit ThreadGroup(std::int32_t num_threads);
  ~ThreadGroup();
  ThreadGroup(const ThreadGroup&) = delete;
  ThreadGroup& operator=(const ThreadGroup&) = delete;

  std::int32_t size() const { return static_cast<std::int32_t>(threads_.size()) + 1; }

  /// Runs task(i) on thread i of all.
  /// @return  seconds of CPU time of the thread that needed most: what the call takes when nobody
  ///          else uses the machine, also when somebody does
  double run(const std::function<void(std::int32_t)>& task);

 private:
  const std::function<void(std::int32_t)>* task_ = nullptr;  // null: end
  std::atomic<std::uint64_t> round_ = 0;
  std::atomic<std::int32_t> num_running_ = 0;
  std::vector<double> seconds_;  // of each thread
  std::vector<std::thread> threads_;
};

}  // namespace tessera::benchmarks

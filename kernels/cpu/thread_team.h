#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <thread>
#include <vector>

namespace tessera::kernels {

/// The threads of a back end: the one that owns and calls it, and `num_threads` - 1 workers.
///
/// Between two jobs a worker spins for some ten microseconds, the distance of two operations of a
/// step, then sleeps until the next job. With fewer CPUs than threads nobody spins.
class ThreadTeam {
 public:
  /// @param cpus  Thread i is pinned to cpus[i % size], the calling thread (thread 0) for good;
  ///              empty: not pinned.
  /// @throws Error{kInvalidArgument} for a CPU that this process may not use.
  ThreadTeam(std::int32_t num_threads, std::span<const std::int32_t> cpus);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  std::int32_t num_threads() const { return static_cast<std::int32_t>(workers_.size()) + 1; }

  /// Calls work(part) for every part in [0, num_threads), part 0 on the calling thread, and
  /// returns when all are done. `work` does not throw. All parts run in the floating-point
  /// environment of the caller.
  template <typename Work>
  void run(const Work& work) {
    run_job(
        {[](const void* context, std::int32_t part) { (*static_cast<const Work*>(context))(part); },
         &work,
         /*float_control=*/0});
  }

 private:
  struct Job {
    void (*call)(const void* context, std::int32_t part) = nullptr;
    const void* context = nullptr;
    std::uint32_t float_control = 0;  // MXCSR of the caller
  };

  void run_job(const Job& job);
  void work(std::int32_t part);

  std::int32_t num_spins_ = 0;
  Job job_;
  bool stop_ = false;
  // The owner writes job_ and stop_, then raises generation_; workers read them after they saw it
  // rise, and count pending_ down when they are done.
  alignas(64) std::atomic<std::int32_t> generation_{0};
  alignas(64) std::atomic<std::int32_t> pending_{0};
  std::vector<std::thread> workers_;
};

}  // namespace tessera::kernels

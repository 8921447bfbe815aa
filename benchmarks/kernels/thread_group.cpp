#include "benchmarks/kernels/thread_group.h"

#include <pthread.h>
#include <sched.h>
#include <time.h>

#include <algorithm>

#include "common/base/error.h"

namespace tessera::benchmarks {
namespace {

void pin(std::int32_t cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  TESSERA_REQUIRE(pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0, "no CPU ", cpu);
}

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

// Seconds of CPU time that the task took on this thread.
double time_of(const std::function<void(std::int32_t)>& task, std::int32_t i) {
  const double start = cpu_seconds();
  task(i);
  return cpu_seconds() - start;
}

}  // namespace

ThreadGroup::ThreadGroup(std::int32_t num_threads)
    : seconds_(static_cast<std::size_t>(num_threads)) {
  pin(0);
  for (std::int32_t i = 1; i < num_threads; ++i) {
    threads_.emplace_back([this, i] {
      pin(i);
      for (std::uint64_t seen = 0;; ++seen) {
        while (round_.load(std::memory_order_acquire) == seen) __builtin_ia32_pause();
        if (task_ == nullptr) return;
        seconds_[static_cast<std::size_t>(i)] = time_of(*task_, i);
        num_running_.fetch_sub(1, std::memory_order_release);
      }
    });
  }
}

ThreadGroup::~ThreadGroup() {
  task_ = nullptr;
  round_.fetch_add(1, std::memory_order_release);
  for (std::thread& thread : threads_) thread.join();
}

double ThreadGroup::run(const std::function<void(std::int32_t)>& task) {
  task_ = &task;
  num_running_.store(size() - 1, std::memory_order_relaxed);
  round_.fetch_add(1, std::memory_order_release);
  seconds_[0] = time_of(task, 0);
  while (num_running_.load(std::memory_order_acquire) != 0) __builtin_ia32_pause();
  return *std::max_element(seconds_.begin(), seconds_.end());
}

}  // namespace tessera::benchmarks

#include "kernels/cpu/thread_team.h"

#include <immintrin.h>
#include <sched.h>

#include <set>

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

// 20 to 80 microseconds, by the machine's idea of a pause.
constexpr std::int32_t kNumSpins = 2000;

bool pin_this_thread(std::int32_t cpu) {
  if (cpu < 0 || cpu >= CPU_SETSIZE) return false;
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(static_cast<std::size_t>(cpu), &set);
  return sched_setaffinity(0, sizeof set, &set) == 0;
}

std::int32_t count_usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
  return CPU_COUNT(&set);
}

// Waits until `value` is no longer `old`; returns the new value.
std::int32_t wait_for_change(const std::atomic<std::int32_t>& value,
                             std::int32_t old,
                             std::int32_t num_spins) {
  for (std::int32_t spin = 0; spin < num_spins; ++spin) {
    const std::int32_t now = value.load(std::memory_order_acquire);
    if (now != old) return now;
    _mm_pause();
  }
  value.wait(old, std::memory_order_acquire);
  return value.load(std::memory_order_acquire);
}

}  // namespace

ThreadTeam::ThreadTeam(std::int32_t num_threads, std::span<const std::int32_t> cpus) {
  TESSERA_REQUIRE(num_threads >= 1, "num_threads ", num_threads, ": at least 1");
  std::int32_t num_cpus = count_usable_cpus();
  if (!cpus.empty()) {
    // Every CPU is tried before the first worker starts; cpus[0] last, to stay on it.
    for (auto cpu = cpus.rbegin(); cpu != cpus.rend(); ++cpu) {
      TESSERA_REQUIRE(pin_this_thread(*cpu), "cpus: this process may not run on CPU ", *cpu);
    }
    num_cpus = static_cast<std::int32_t>(std::set<std::int32_t>(cpus.begin(), cpus.end()).size());
  }
  num_spins_ = num_threads <= num_cpus ? kNumSpins : 0;
  for (std::int32_t part = 1; part < num_threads; ++part) {
    const std::int32_t cpu = cpus.empty() ? -1 : cpus[static_cast<std::size_t>(part) % cpus.size()];
    workers_.emplace_back([this, part, cpu] {
      if (cpu >= 0) pin_this_thread(cpu);
      work(part);
    });
  }
}

ThreadTeam::~ThreadTeam() {
  stop_ = true;
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void ThreadTeam::run_job(const Job& job) {
  if (workers_.empty()) {
    job.call(job.context, 0);
    return;
  }
  constexpr std::uint32_t kExceptionFlags = 0x3F;
  job_ = job;
  job_.float_control = _mm_getcsr() & ~kExceptionFlags;
  pending_.store(num_threads() - 1, std::memory_order_relaxed);
  generation_.fetch_add(1, std::memory_order_release);
  generation_.notify_all();
  job.call(job.context, 0);
  std::int32_t pending = pending_.load(std::memory_order_acquire);
  while (pending > 0) pending = wait_for_change(pending_, pending, num_spins_);
}

void ThreadTeam::work(std::int32_t part) {
  std::int32_t generation = 0;
  while (true) {
    generation = wait_for_change(generation_, generation, num_spins_);
    if (stop_) return;
    _mm_setcsr(job_.float_control);
    job_.call(job_.context, part);
    pending_.fetch_sub(1, std::memory_order_acq_rel);
    pending_.notify_one();
  }
}

}  // namespace tessera::kernels

// Time of all_reduce_tree by size, over shared memory and over MPI, beside its floor: a memcpy of
// as many bytes out of memory that another rank has just written. A rank has to read that much
// (its part of what the others give, and their parts of the sum) whatever it does.
//
//   mpirun -n 2 --bind-to none build/release/bin/collective_benchmark
#include <sched.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <memory>
#include <vector>

#include "common/base/error.h"
#include "worker/comm/create_communicator.h"
#include "worker/comm/poll_until.h"
#include "worker/comm/shared_region.h"
#include "worker/main/cpu_share.h"
#include "worker/runtime/mpi_session.h"

namespace tessera {
namespace {

using Microseconds = std::chrono::duration<double, std::micro>;

// 8 rows of 1024 floats are 32 KiB; 32, 128 and 512 rows are 128 KiB, 512 KiB and 2 MiB.
constexpr std::size_t kSizes[] = {256,       4 << 10,   16 << 10,  32 << 10, 64 << 10,
                                  128 << 10, 256 << 10, 512 << 10, 1 << 20,  2 << 20};
constexpr std::size_t kLargest = 2 << 20;
constexpr std::size_t kBytesPerCase = std::size_t{64} << 20;
constexpr std::size_t kMostRounds = 2000;

struct Times {
  double p50 = 0;
  double p99 = 0;
};

Times summary(std::vector<double> samples) {
  std::sort(samples.begin(), samples.end());
  return {samples[samples.size() / 2], samples[samples.size() * 99 / 100]};
}

/// Times `work` after a barrier, round after round; `prepare` is not in the time.
Times measure(Communicator& communicator,
              std::size_t bytes,
              const std::function<void()>& prepare,
              const std::function<void()>& work) {
  const std::size_t rounds = std::clamp(kBytesPerCase / bytes, std::size_t{50}, kMostRounds);
  std::vector<double> samples;
  for (std::size_t round = 0; round < rounds + 10; ++round) {
    prepare();
    communicator.barrier();
    const auto begin = std::chrono::steady_clock::now();
    work();
    if (round >= 10)
      samples.push_back(Microseconds(std::chrono::steady_clock::now() - begin).count());
  }
  return summary(std::move(samples));
}

Times measure_all_reduce(Communicator& communicator,
                         std::vector<float>& values,
                         std::size_t bytes) {
  const std::span<float> part(values.data(), bytes / sizeof(float));
  return measure(
      communicator, bytes, [&] { std::fill(part.begin(), part.end(), 1.0F); },
      [&] { communicator.all_reduce_tree(part); });
}

/// Memory that every rank writes and the next one reads.
SharedRegion share_region(Communicator& communicator, std::size_t bytes) {
  std::vector<std::byte> path(64);
  SharedRegion own = SharedRegion::create("tessera-benchmark", bytes);
  std::memcpy(path.data(), own.path().c_str(), own.path().size());
  communicator.broadcast(path, 0);
  SharedRegion region = SharedRegion::open(reinterpret_cast<const char*>(path.data()), bytes);
  communicator.barrier();
  return region;
}

Times measure_floor(Communicator& communicator,
                    const SharedRegion& region,
                    std::vector<float>& values,
                    std::size_t bytes) {
  const auto rank = static_cast<std::size_t>(communicator.rank());
  const std::size_t next = (rank + 1) % static_cast<std::size_t>(communicator.size());
  return measure(
      communicator, bytes, [&] { std::memset(region.data() + rank * kLargest, 1, bytes); },
      [&] { std::memcpy(values.data(), region.data() + next * kLargest, bytes); });
}

void run(const MpiSession& mpi) {
  const HostRanks hosts = find_host_ranks(mpi.communicator());
  TESSERA_REQUIRE(mpi.size() > 1, "start it with mpirun -n 2, 4 or 8");
  const CpuShare cpus = share_cpus(hosts.local_cpus, hosts.local_rank, 1);
  if (!cpus.cpus.empty()) {
    cpu_set_t own;
    CPU_ZERO(&own);
    CPU_SET(cpus.cpus.front(), &own);
    sched_setaffinity(0, sizeof(own), &own);
  }
  const WaitOptions wait{std::chrono::seconds(60), cpus.cpus.empty() ? 0 : kPollsWithOwnCore};
  const auto create = [&](const char* kind) {
    return create_communicator(mpi.communicator(), kind, hosts, wait);
  };
  const auto shared = create("shared_memory");
  const auto messages = create("mpi");
  const SharedRegion region = share_region(*shared, kLargest * mpi.size());
  std::vector<float> values(kLargest / sizeof(float));

  const bool prints = mpi.rank() == 0;
  if (prints) {
    std::printf("all_reduce_tree, %d ranks, %s; microseconds, median (99th percentile)\n\n",
                mpi.size(), cpus.cpus.empty() ? "sharing CPUs" : "a CPU each");
    std::printf(
        "| bytes | memcpy floor | shared memory | ratio | mpi | ratio |\n"
        "|---|---|---|---|---|---|\n");
  }
  for (const std::size_t bytes : kSizes) {
    const Times floor = measure_floor(*shared, region, values, bytes);
    const Times fast = measure_all_reduce(*shared, values, bytes);
    const Times slow = measure_all_reduce(*messages, values, bytes);
    if (!prints) continue;
    std::printf("| %zu | %.1f (%.1f) | %.1f (%.1f) | %.2f | %.1f (%.1f) | %.2f |\n", bytes,
                floor.p50, floor.p99, fast.p50, fast.p99, fast.p50 / floor.p50, slow.p50, slow.p99,
                slow.p50 / floor.p50);
  }
}

}  // namespace
}  // namespace tessera

int main() {
  tessera::MpiSession mpi(/*is_launcher=*/false);
  try {
    tessera::run(mpi);
  } catch (const tessera::Error& error) {
    std::fprintf(stderr, "collective_benchmark: %s\n", error.what());
    tessera::MpiSession::abort(tessera::worker_exit_of(error.code()));
  }
}

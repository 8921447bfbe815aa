// The operations of the cpu back end against the limits of the machine, which are measured in the
// same run (machine_limits.h). Counters: see report() in kernel_suite.h. Weights are cold: they
// rotate through more memory than the caches hold. Other tenants of a machine disturb a mean: take
// the median of --benchmark_repetitions=7 --benchmark_min_time=0.05.

#include <algorithm>
#include <random>
#include <thread>
#include <vector>

#include "benchmarks/kernels/kernel_suite.h"
#include "kernels/backend_registry.h"
#include "kernels/convert.h"
#include "kernels/cpu/thread_team.h"

namespace tessera::benchmarks {
namespace {

std::vector<float> random_pattern() {
  std::mt19937 rng(/*seed=*/1);
  std::normal_distribution<float> normal;
  std::vector<float> pattern(65537);
  for (float& x : pattern) x = normal(rng);
  return pattern;
}

std::vector<std::int32_t> first_cpus(std::int32_t count) {
  std::vector<std::int32_t> cpus;
  for (std::int32_t cpu = 0; cpu < count; ++cpu) cpus.push_back(cpu);
  return cpus;
}

// What starting an operation on all threads costs.
void register_dispatch(std::int32_t num_threads) {
  benchmark::RegisterBenchmark(("dispatch/threads:" + std::to_string(num_threads)).c_str(),
                               [num_threads](benchmark::State& state) {
                                 kernels::ThreadTeam team(num_threads, first_cpus(num_threads));
                                 for (auto _ : state) team.run([](std::int32_t) {});
                               })
      ->UseRealTime();
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const auto hardware = static_cast<std::int32_t>(std::thread::hardware_concurrency());
  for (const std::int32_t num_threads : {1, 2}) {
    if (num_threads > hardware) continue;
    register_dispatch(num_threads);
    MachineLimits limits;
    {
      ThreadGroup threads(num_threads);
      limits = measure_limits(threads);
    }
    const std::string suffix = " with " + std::to_string(num_threads) + " threads";
    benchmark::AddCustomContext("bf16 GFLOP/s" + suffix,
                                std::to_string(limits.bfloat16_flops * 1e-9));
    benchmark::AddCustomContext("fp32 GFLOP/s" + suffix,
                                std::to_string(limits.float32_flops * 1e-9));
    benchmark::AddCustomContext("read GB/s" + suffix, std::to_string(limits.read_bytes * 1e-9));
    for (const std::string instruction_set : {"avx512", "avx2"}) {
      if (instruction_set == "avx512" && limits.bfloat16_flops == 0.0) continue;
      kernels::BackendOptions options{num_threads, first_cpus(num_threads), instruction_set};
      const KernelSuite suite{instruction_set, num_threads, limits,
                              kernels::create_backend("cpu", options)};
      register_gemm(suite);
      register_experts(suite);
      register_measure(suite);
      register_rows(suite);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace

void report(benchmark::State& state, const KernelSuite& suite, const Cost& cost) {
  using benchmark::Counter;
  constexpr auto kRate = Counter::kIsIterationInvariantRate;
  const double by_flops = cost.flops / suite.flops();
  const double by_bytes = cost.bytes / suite.limits.read_bytes;
  const double floor = std::max(by_flops, by_bytes);
  if (cost.flops > 0.0) {  // a zero would make the statistics of repetitions NaN
    state.counters["GFLOP/s"] = Counter(cost.flops * 1e-9, kRate);
    state.counters["of_peak"] = Counter(by_flops, kRate);
  }
  state.counters["GB/s"] = Counter(cost.bytes * 1e-9, kRate);
  state.counters["floor_us"] = floor * 1e6;
  state.counters["ratio"] = Counter(floor, kRate);
  state.counters["of_bandwidth"] = Counter(by_bytes, kRate);
}

kernels::Buffer random_bfloat16(std::int64_t count, float scale) {
  const std::vector<float> pattern = random_pattern();
  kernels::Buffer buffer(count * 2);
  for (std::int64_t i = 0; i < count; ++i) {
    buffer.as<std::uint16_t>()[i] =
        kernels::bfloat16_of_float(scale * pattern[static_cast<std::size_t>(i) % pattern.size()]);
  }
  return buffer;
}

kernels::Buffer random_float32(std::int64_t count) {
  const std::vector<float> pattern = random_pattern();
  kernels::Buffer buffer(count * 4);
  for (std::int64_t i = 0; i < count; ++i) {
    buffer.as<float>()[i] = pattern[static_cast<std::size_t>(i) % pattern.size()];
  }
  return buffer;
}

}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  return tessera::benchmarks::run(argc, argv);
}

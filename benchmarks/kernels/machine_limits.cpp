#include "benchmarks/kernels/machine_limits.h"

#include <immintrin.h>

#include <algorithm>

#include "kernels/buffer.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int64_t kSteps = 1 << 20;
constexpr int kChains = 12;  // latency times throughput of both instructions

__attribute__((target("avx512f,avx512bf16"))) void run_bfloat16_dots() {
  __m512 sums[kChains];
  for (__m512& sum : sums) sum = _mm512_setzero_ps();
  const auto ones = (__m512bh)_mm512_set1_epi16(0x3F80);
  for (std::int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (__m512& sum : sums) {
      sum = _mm512_dpbf16_ps(sum, ones, ones);
      asm volatile("" : "+v"(sum));
    }
  }
}

__attribute__((target("avx2,fma"))) void run_float32_fmas() {
  __m256 sums[kChains];
  for (__m256& sum : sums) sum = _mm256_setzero_ps();
  const __m256 ones = _mm256_set1_ps(1.0F);
  for (std::int64_t i = 0; i < kSteps; ++i) {
#pragma GCC unroll 12
    for (__m256& sum : sums) {
      sum = _mm256_fmadd_ps(ones, ones, sum);
      asm volatile("" : "+x"(sum));
    }
  }
}

__attribute__((target("avx2"))) void read_all(const std::byte* data, std::int64_t num_bytes) {
  const auto* vectors = reinterpret_cast<const __m256i*>(data);
  __m256i any = _mm256_setzero_si256();
  for (std::int64_t i = 0; i < num_bytes / 32; ++i) {
    any = _mm256_or_si256(any, _mm256_load_si256(vectors + i));
  }
  asm volatile("" : : "x"(any));
}

// Units of work per second: best of `tries`.
template <typename Task>
double best_rate(ThreadGroup& threads, int tries, double units, const Task& task) {
  double best = 0.0;
  for (int i = 0; i < tries; ++i) {
    best = std::max(best, units / threads.run(task));
  }
  return best;
}

}  // namespace

MachineLimits measure_limits(ThreadGroup& threads) {
  MachineLimits limits;
  const double steps = static_cast<double>(threads.size()) * kChains * kSteps;
  if (__builtin_cpu_supports("avx512bf16")) {
    limits.bfloat16_flops =
        best_rate(threads, 5, 64.0 * steps, [](std::int32_t) { run_bfloat16_dots(); });
  }
  limits.float32_flops =
      best_rate(threads, 5, 16.0 * steps, [](std::int32_t) { run_float32_fmas(); });
  const std::int64_t share = (std::int64_t{192} << 20) / threads.size();
  kernels::Buffer memory(share * threads.size());
  std::fill_n(memory.as<char>(), memory.num_bytes(), 1);
  limits.read_bytes =
      best_rate(threads, 8, static_cast<double>(memory.num_bytes()),
                [&](std::int32_t i) { read_all(memory.as<std::byte>() + i * share, share); });
  return limits;
}

}  // namespace tessera::benchmarks

// Block attention of the CPU kernels against the limits of the machine, measured in the same run.
//
// Times are CPU time of the slower thread (thread_group.h), the counters are of the median call.
// Columns: GFLOP/s (4 head_dim per query and visible key), GB/s (K and V of the cache, read once),
// floor_us (the greater of operations / peak and bytes / bandwidth) and ratio = floor / time.
// K/V is cold: the pages rotate through more memory than the caches hold.

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "benchmarks/kernels/machine_limits.h"
#include "kernels/buffer.h"
#include "kernels/convert.h"
#include "kernels/cpu/attention/cpu_attention.h"

namespace tessera::benchmarks {
namespace {

using kernels::AttentionArgs;
using kernels::AttentionSpan;
using kernels::Buffer;

constexpr std::int64_t kPoolBytes = std::int64_t{128} << 20;  // of K, and as much of V
constexpr std::int32_t kPageSize = 32;
constexpr std::int32_t kKvHeads = 8;

struct Case {
  bool avx512;
  std::int32_t num_requests;
  std::int32_t num_rows;  // of each request
  std::int32_t group;
  std::int32_t head_dim;
  std::int32_t cache_len;
};

// A small repeating pattern of random bf16.
void fill_random(Buffer& buffer) {
  std::mt19937 rng(/*seed=*/1);
  std::normal_distribution<float> normal;
  std::vector<std::uint16_t> pattern(65537);
  for (std::uint16_t& x : pattern) x = kernels::bfloat16_of_float(normal(rng));
  auto* const out = buffer.as<std::uint16_t>();
  for (std::int64_t i = 0; i < buffer.num_bytes() / 2; ++i) {
    out[i] = pattern[static_cast<std::size_t>(i) % pattern.size()];
  }
}

struct Memory {
  Memory() {
    fill_random(k_pool);
    fill_random(v_pool);
    fill_random(rows);
  }
  Buffer k_pool{kPoolBytes};
  Buffer v_pool{kPoolBytes};
  Buffer rows{std::int64_t{64} << 20};
  Buffer out{std::int64_t{64} << 20};
};

// Several calls that read different pages.
class Calls {
 public:
  Calls(const Case& c, const Memory& memory) : case_(c) {
    const std::int64_t slot_bytes = std::int64_t{kKvHeads} * c.head_dim * 2;
    const auto num_pages = static_cast<std::int32_t>(kPoolBytes / slot_bytes / kPageSize);
    std::vector<PageId> ids(static_cast<std::size_t>(num_pages));
    std::iota(ids.begin(), ids.end(), 0);
    std::shuffle(ids.begin(), ids.end(), std::mt19937(/*seed=*/2));
    const auto pages = static_cast<std::size_t>((c.cache_len + kPageSize - 1) / kPageSize);
    const std::int64_t total = std::int64_t{c.num_requests} * c.num_rows;
    const std::int64_t q_cols = std::int64_t{kKvHeads} * c.group * c.head_dim;
    const std::int64_t kv_cols = std::int64_t{kKvHeads} * c.head_dim;
    args_.q = {memory.rows.data(), DType::kBFloat16, total, q_cols, q_cols};
    args_.k = {memory.rows.data(), DType::kBFloat16, total, kv_cols, kv_cols};
    args_.v = args_.k;
    args_.out = {memory.out.data(), DType::kBFloat16, total, q_cols, q_cols};
    args_.pages = {
        memory.k_pool.data(), memory.v_pool.data(), num_pages, kPageSize, kKvHeads, c.head_dim};
    args_.num_q_heads = kKvHeads * c.group;
    args_.scale = 1.0F / std::sqrt(static_cast<float>(c.head_dim));
    while (tables_.size() + static_cast<std::size_t>(c.num_requests) <= 256 &&
           ids.size() >= pages * static_cast<std::size_t>(c.num_requests)) {
      add_call(pages, ids);
    }
  }

  const AttentionArgs& next() {
    const auto requests = static_cast<std::size_t>(case_.num_requests);
    args_.spans = std::span(spans_).subspan(at_, requests);
    at_ = (at_ + requests) % spans_.size();
    return args_;
  }

 private:
  void add_call(std::size_t pages, std::vector<PageId>& ids) {
    for (std::int32_t i = 0; i < case_.num_requests; ++i) {
      tables_.emplace_back(ids.end() - static_cast<std::ptrdiff_t>(pages), ids.end());
      ids.resize(ids.size() - pages);
      AttentionSpan span;
      span.first_row = std::int64_t{i} * case_.num_rows;
      span.num_rows = case_.num_rows;
      span.first = span.cache_len = case_.cache_len;
      span.mask = MaskKind::kFull;
      span.page_table = tables_.back();
      spans_.push_back(span);
    }
  }

  Case case_;
  AttentionArgs args_;
  std::vector<std::vector<PageId>> tables_;
  std::vector<AttentionSpan> spans_;
  std::size_t at_ = 0;
};

void run_case(benchmark::State& state,
              const Case& c,
              ThreadGroup& threads,
              const MachineLimits& limits,
              const Memory& memory) {
  Calls calls(c, memory);
  const std::int64_t bytes =
      kernels::attention_scratch_bytes(kKvHeads * c.group, kKvHeads, c.head_dim);
  const Buffer scratch(bytes * threads.size());
  const auto kernel = c.avx512 ? &kernels::block_attention_avx512 : &kernels::block_attention_avx2;
  std::vector<double> times;
  for (auto _ : state) {
    const AttentionArgs& args = calls.next();
    times.push_back(threads.run([&](std::int32_t i) {
      kernel(args, i, threads.size(),
             {scratch.as<std::byte>() + i * bytes, static_cast<std::size_t>(bytes)});
    }));
    state.SetIterationTime(times.back());
  }
  const auto median = times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2);
  std::nth_element(times.begin(), median, times.end());
  const double seconds = *median;
  const double rows = c.num_requests * c.num_rows;
  const double keys = c.cache_len + c.num_rows;
  const double flops = rows * keys * 4.0 * c.head_dim * c.group * kKvHeads;
  const double read_bytes = c.num_requests * double{4.0} * c.cache_len * c.head_dim * kKvHeads;
  const double floor = std::max(flops / (c.avx512 ? limits.bfloat16_flops : limits.float32_flops),
                                read_bytes / limits.read_bytes);
  state.counters["GFLOP/s"] = flops / seconds * 1e-9;
  state.counters["GB/s"] = read_bytes / seconds * 1e-9;
  state.counters["floor_us"] = floor * 1e6;
  state.counters["ratio"] = floor / seconds;
}

std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (const std::int32_t head_dim : {64, 128}) {
    for (const std::int32_t group : {2, 4, 8}) {
      for (const std::int32_t rows : {4, 8, 32, 128, 512}) {
        for (const std::int32_t cached : {128, 1024, 8192}) {
          if (rows == 512 && cached == 8192) continue;  // nothing new, and a second per call
          cases.push_back({true, 1, rows, group, head_dim, cached});
        }
      }
      cases.push_back({true, 64, 32, group, head_dim, 128});
      cases.push_back({false, 1, 32, group, head_dim, 1024});
    }
  }
  return cases;
}

std::string name_of(const Case& c, std::int32_t num_threads) {
  const auto part = [](const char* name, std::int32_t value) {
    return "/" + std::string(name) + ":" + std::to_string(value);
  };
  return "block_attention/" + std::string(c.avx512 ? "avx512" : "avx2") +
         part("threads", num_threads) + part("dim", c.head_dim) + part("gqa", c.group) +
         part("requests", c.num_requests) + part("rows", c.num_rows) + part("cached", c.cache_len);
}

int run(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const Memory memory;
  const auto hardware = static_cast<std::int32_t>(std::thread::hardware_concurrency());
  ThreadGroup threads(std::min(2, hardware));
  const MachineLimits limits = measure_limits(threads);
  benchmark::AddCustomContext("threads", std::to_string(threads.size()));
  benchmark::AddCustomContext("bf16 GFLOP/s", std::to_string(limits.bfloat16_flops * 1e-9));
  benchmark::AddCustomContext("fp32 GFLOP/s", std::to_string(limits.float32_flops * 1e-9));
  benchmark::AddCustomContext("read GB/s", std::to_string(limits.read_bytes * 1e-9));
  for (const Case& c : all_cases()) {
    if (c.avx512 && limits.bfloat16_flops == 0.0) continue;
    benchmark::RegisterBenchmark(
        name_of(c, threads.size()).c_str(),
        [&, c](benchmark::State& state) { run_case(state, c, threads, limits, memory); })
        ->UseManualTime()
        ->MinTime(0.05)
        ->Unit(benchmark::kMicrosecond);
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace tessera::benchmarks

int main(int argc, char** argv) {
  return tessera::benchmarks::run(argc, argv);
}

#include "benchmarks/kernels_cuda/reporter.h"

#include <cuda_runtime_api.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "kernels/convert.h"
#include "kernels/cuda/device/cuda_check.h"

namespace tessera::benchmarks {
namespace {

constexpr int kRuns = 21;          // timed stretches; the median counts
constexpr double kStretch = 2e-3;  // seconds that a stretch lasts at least
constexpr std::int64_t kCopyBytes = std::int64_t{2} << 30;
constexpr std::int64_t kSquare = 8192;

using Wait = std::function<void()>;

// Operations run on a stream of the back end: download() is what waits for them.
Wait wait_for(kernels::Backend& backend) {
  const auto any = std::make_shared<kernels::Buffer>(backend.allocate(16));
  return [&backend, any] {
    std::byte byte;
    backend.download(any->data(), &byte, 1);
  };
}

class Stopwatch {
 public:
  explicit Stopwatch(Wait wait) : wait_(std::move(wait)) {}

  double seconds(int count, const std::function<void(int)>& work, int& next) const {
    wait_();
    const auto begin = std::chrono::steady_clock::now();
    for (int i = 0; i < count; ++i) work(next++);
    wait_();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }

  /// Median seconds of one run.
  double median(const std::function<void(int)>& work) const {
    int next = 0;
    seconds(3, work, next);
    const double once = std::max(1e-7, seconds(3, work, next) / 3);
    const int count = static_cast<int>(std::clamp(kStretch / once, 4.0, 2000.0));
    std::vector<double> times;
    for (int run = 0; run < kRuns; ++run) times.push_back(seconds(count, work, next) / count);
    std::nth_element(times.begin(), times.begin() + kRuns / 2, times.end());
    return times[kRuns / 2];
  }

 private:
  Wait wait_;
};

template <typename T, typename Convert>
kernels::Buffer random_values(kernels::Backend& backend,
                              std::int64_t count,
                              float scale,
                              const Convert& convert) {
  // A few million different numbers, again and again: filling gigabytes one by one takes minutes.
  constexpr std::int64_t kDistinct = 4 << 20;
  std::mt19937 rng(/*seed=*/1);
  std::normal_distribution<float> normal(0.0F, scale);
  std::vector<T> values(static_cast<std::size_t>(std::min(count, kDistinct)));
  for (T& value : values) value = convert(normal(rng));
  kernels::Buffer buffer = backend.allocate(count * static_cast<std::int64_t>(sizeof(T)));
  for (std::int64_t done = 0; done < count; done += kDistinct) {
    const std::int64_t part = std::min(kDistinct, count - done);
    backend.upload(values.data(), buffer.as<T>() + done,
                   part * static_cast<std::int64_t>(sizeof(T)));
  }
  return buffer;
}

double copy_rate(const Stopwatch& watch) {
  const std::int64_t bytes = kCopyBytes;
  void* memory = nullptr;
  TESSERA_CUDA_CHECK(cudaMalloc(&memory, static_cast<std::size_t>(2 * bytes)));
  const double seconds = watch.median([&](int) {
    TESSERA_CUDA_CHECK(cudaMemcpy(static_cast<char*>(memory) + bytes, memory,
                                  static_cast<std::size_t>(bytes), cudaMemcpyDeviceToDevice));
    TESSERA_CUDA_CHECK(cudaDeviceSynchronize());
  });
  TESSERA_CUDA_CHECK(cudaFree(memory));
  return 2.0 * static_cast<double>(bytes) / seconds;
}

double product_rate(kernels::Backend& backend, const Stopwatch& watch) {
  const auto packed = backend.create_packed({kSquare, kSquare, 1, 1});
  std::vector<std::uint16_t> rows(static_cast<std::size_t>(kSquare * 64));
  std::mt19937 rng(/*seed=*/2);
  std::normal_distribution<float> normal;
  for (auto& value : rows) value = kernels::bfloat16_of_float(normal(rng));
  for (std::int64_t row = 0; row < kSquare; row += 64) {
    backend.pack_rows(*packed, row, {rows.data(), DType::kBFloat16, 64, kSquare, kSquare});
  }
  const kernels::Buffer a = random_bf16(backend, kSquare * kSquare);
  const kernels::Buffer c = backend.allocate(kSquare * kSquare * 4);
  const double seconds = watch.median([&](int) {
    backend.gemm({a.data(), DType::kBFloat16, kSquare, kSquare, kSquare}, *packed,
                 {c.data(), DType::kFloat32, kSquare, kSquare, kSquare});
  });
  return 2.0 * kSquare * kSquare * kSquare / seconds;
}

}  // namespace

Ceilings measure_ceilings(kernels::Backend& fastest) {
  const Stopwatch watch(wait_for(fastest));
  return {copy_rate(watch), product_rate(fastest, watch)};
}

Reporter::Reporter(kernels::Backend& backend, bool is_deterministic, kernels::Backend& fastest)
    : backend_(backend), is_deterministic_(is_deterministic), ceilings_(measure_ceilings(fastest)) {
  cudaDeviceProp properties = {};
  TESSERA_CUDA_CHECK(cudaGetDeviceProperties(&properties, 0));
  std::printf("%s, %s: copy %.2f TB/s, bf16 product %.0f TFLOP/s; medians of %d\n\n",
              properties.name, std::string(backend.device_name()).c_str(),
              ceilings_.bytes_per_second * 1e-12, ceilings_.flops_per_second * 1e-12, kRuns);
  std::printf("| case | measured us | floor us | floor / measured |\n|---|---:|---:|---:|\n");
}

void Reporter::row(const std::string& name,
                   double bytes,
                   double flops,
                   const std::function<void(int run)>& work) {
  row(name, bytes, flops, work, /*count=*/1, wait_for(backend_));
}

void Reporter::row(const std::string& name,
                   double bytes,
                   double flops,
                   const std::function<void(int run)>& work,
                   int count,
                   const std::function<void()>& wait) {
  const double seconds = Stopwatch(wait).median(work) / count;
  const double floor =
      std::max(bytes / ceilings_.bytes_per_second, flops / ceilings_.flops_per_second);
  std::printf("| %s | %.2f | %.2f | %.2f |\n", name.c_str(), seconds * 1e6, floor * 1e6,
              floor / seconds);
  std::fflush(stdout);
}

kernels::Buffer random_bf16(kernels::Backend& backend, std::int64_t count, float scale) {
  return random_values<std::uint16_t>(backend, count, scale, &kernels::bfloat16_of_float);
}

kernels::Buffer random_fp32(kernels::Backend& backend, std::int64_t count, float scale) {
  return random_values<float>(backend, count, scale, [](float value) { return value; });
}

}  // namespace tessera::benchmarks

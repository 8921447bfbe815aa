#include <functional>
#include <vector>

#include "benchmarks/kernels/kernel_suite.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int64_t kHidden = 1024;
constexpr std::int64_t kIntermediate = 3072;
constexpr std::int64_t kColdBytes = std::int64_t{192} << 20;

// Operands of an operation on rows, in as many copies as asked for.
struct Operands {
  kernels::Buffer wide;    // fp32 [rows, 2 kIntermediate]
  kernels::Buffer narrow;  // fp32 [rows, kHidden]
  kernels::Buffer out;     // bf16 [rows, kIntermediate]
};

struct RowOperation {
  const char* name;
  double bytes_per_row;  // read and written
  std::function<void(const KernelSuite&, const Operands&, std::int64_t rows)> call;
};

MatrixView floats(const kernels::Buffer& buffer, std::int64_t rows, std::int64_t cols) {
  return {buffer.data(), DType::kFloat32, rows, cols, cols};
}
MatrixView halves(const kernels::Buffer& buffer, std::int64_t rows, std::int64_t cols) {
  return {buffer.data(), DType::kBFloat16, rows, cols, cols};
}

std::vector<RowOperation> operations() {
  static const std::vector<float> weight(kHidden, 1.0F);
  const auto hidden = static_cast<double>(kHidden);
  const auto intermediate = static_cast<double>(kIntermediate);
  return {
      {"rms_norm", hidden * (4 + 2),
       [](const KernelSuite& suite, const Operands& x, std::int64_t rows) {
         suite.backend->rms_norm(floats(x.narrow, rows, kHidden), weight, 1e-6F,
                                 halves(x.out, rows, kHidden));
       }},
      {"add_rms_norm", hidden * (4 + 4 + 4 + 2),
       [](const KernelSuite& suite, const Operands& x, std::int64_t rows) {
         suite.backend->add_rms_norm(floats(x.narrow, rows, kHidden), floats(x.wide, rows, kHidden),
                                     weight, 1e-6F, halves(x.out, rows, kHidden));
       }},
      {"act_mul", intermediate * (8 + 2),
       [](const KernelSuite& suite, const Operands& x, std::int64_t rows) {
         suite.backend->act_mul(Activation::kSilu, floats(x.wide, rows, 2 * kIntermediate),
                                halves(x.out, rows, kIntermediate));
       }},
  };
}

void run_rows(benchmark::State& state,
              const KernelSuite& suite,
              const RowOperation& operation,
              std::int64_t rows,
              bool cold) {
  const double bytes = operation.bytes_per_row * static_cast<double>(rows);
  const std::size_t count =
      cold ? static_cast<std::size_t>(static_cast<double>(kColdBytes) / bytes) + 1 : 1;
  std::vector<Operands> copies;
  for (std::size_t i = 0; i < count; ++i) {
    copies.push_back({random_float32(rows * 2 * kIntermediate), random_float32(rows * kHidden),
                      random_bfloat16(rows * kIntermediate, 1.0F)});
  }
  std::size_t copy = 0;
  for (auto _ : state) {
    operation.call(suite, copies[copy], rows);
    copy = (copy + 1) % copies.size();
  }
  report(state, suite, {0.0, bytes});
}

}  // namespace

void register_rows(const KernelSuite& suite) {
  for (const RowOperation& operation : operations()) {
    for (const std::int64_t rows : {32, 512}) {
      // Hot: what a step finds, whose activations stay in the caches; a ratio above 1 says so.
      for (const bool cold : {true, false}) {
        benchmark::RegisterBenchmark(
            (suite.name(operation.name) + "/M:" + std::to_string(rows) + (cold ? "/cold" : "/hot"))
                .c_str(),
            [suite, operation, rows, cold](benchmark::State& state) {
              run_rows(state, suite, operation, rows, cold);
            })
            ->UseRealTime()
            ->Unit(benchmark::kMicrosecond);
      }
    }
  }
}

}  // namespace tessera::benchmarks

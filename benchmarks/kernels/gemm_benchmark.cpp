#include <utility>
#include <vector>

#include "benchmarks/kernels/kernel_suite.h"

namespace tessera::benchmarks {
namespace {

using kernels::PackedMatrix;
using kernels::PackShape;

constexpr std::int64_t kColdBytes = std::int64_t{192} << 20;

// Enough copies of a matrix that a copy is cold when its turn comes. Kept from one benchmark to the
// next of the same shape: packing takes longer than measuring.
class ColdMatrices {
 public:
  explicit ColdMatrices(std::shared_ptr<kernels::Backend> backend) : backend_(std::move(backend)) {}

  const std::vector<std::unique_ptr<PackedMatrix>>& of(const PackShape& shape) {
    const auto same = [&](const PackShape& other) {
      return other.rows == shape.rows && other.cols == shape.cols &&
             other.k_leaves == shape.k_leaves;
    };
    if (!copies_.empty() && same(copies_[0]->shape())) return copies_;
    copies_.clear();
    const kernels::Buffer source = random_bfloat16(shape.rows * shape.cols, 1.0F);
    const std::int64_t bytes = source.num_bytes();
    for (std::int64_t held = 0; held < kColdBytes; held += bytes) {
      copies_.push_back(backend_->create_packed(shape));
      backend_->pack_rows(*copies_.back(), 0,
                          {source.data(), DType::kBFloat16, shape.rows, shape.cols, shape.cols});
    }
    return copies_;
  }

 private:
  std::shared_ptr<kernels::Backend> backend_;
  std::vector<std::unique_ptr<PackedMatrix>> copies_;
};

void run_gemm(benchmark::State& state,
              const KernelSuite& suite,
              ColdMatrices& matrices,
              const PackShape& shape,
              std::int64_t num_rows) {
  const auto& copies = matrices.of(shape);
  const kernels::Buffer a = random_bfloat16(num_rows * shape.cols, 1.0F);
  const kernels::Buffer c(num_rows * shape.rows * 4);
  const ConstMatrixView input{a.data(), DType::kBFloat16, num_rows, shape.cols, shape.cols};
  const MatrixView output{c.data(), DType::kFloat32, num_rows, shape.rows, shape.rows};
  std::size_t copy = 0;
  for (auto _ : state) {
    suite.backend->gemm(input, *copies[copy], output);
    copy = (copy + 1) % copies.size();
  }
  const auto size = static_cast<double>(shape.rows * shape.cols);
  report(state, suite, {2.0 * size * static_cast<double>(num_rows), 2.0 * size});
}

}  // namespace

void register_gemm(const KernelSuite& suite) {
  const PackShape shapes[] = {
      {1024, 1024, 1, 1}, {6144, 1024, 1, 1}, {5632, 2048, 1, 1}, {2048, 5632, 1, 1},
      {1024, 2048, 8, 1}, {1024, 3072, 8, 1}, {2048, 5632, 8, 1},
  };
  const auto matrices = std::make_shared<ColdMatrices>(suite.backend);
  for (const PackShape& shape : shapes) {
    for (const std::int64_t rows : {1, 2, 4, 8, 12, 16, 32, 64, 128, 512}) {
      benchmark::RegisterBenchmark((suite.name("gemm") + "/K:" + std::to_string(shape.cols) +
                                    "/N:" + std::to_string(shape.rows) + "/leaves:" +
                                    std::to_string(shape.k_leaves) + "/M:" + std::to_string(rows))
                                       .c_str(),
                                   [suite, matrices, shape, rows](benchmark::State& state) {
                                     run_gemm(state, suite, *matrices, shape, rows);
                                   })
          ->UseRealTime()
          ->Unit(benchmark::kMicrosecond);
    }
  }
}

}  // namespace tessera::benchmarks

#include <string>
#include <vector>

#include "benchmarks/kernels_cuda/reporter.h"

namespace tessera::benchmarks {
namespace {

// Products of SDAR-8B's layers and LM head.
struct Product {
  const char* name;
  std::int64_t rows;  // N
  std::int64_t cols;  // K
  std::int32_t k_leaves;
};
constexpr Product kProducts[] = {
    {"qkv", 6144, 4096, 1},
    {"o", 4096, 4096, 8},
    {"gate_up", 24576, 4096, 1},
    {"down", 4096, 12288, 8},
};
// Several copies of the weights, so that they come from memory.
constexpr std::int64_t kColdBytes = 512 << 20;

std::vector<std::unique_ptr<kernels::PackedMatrix>> weights_of(kernels::Backend& backend,
                                                               const Product& product) {
  std::vector<std::uint16_t> group(static_cast<std::size_t>(64 * product.cols));
  for (std::size_t i = 0; i < group.size(); ++i) {
    group[i] = static_cast<std::uint16_t>(0x3C00U + i * 2654435761U % 0x100U +
                                          (i % 3 == 0 ? 0x8000U : 0U));
  }
  std::vector<std::unique_ptr<kernels::PackedMatrix>> all;
  for (std::int64_t bytes = 0; bytes < kColdBytes; bytes += product.rows * product.cols * 2) {
    all.push_back(backend.create_packed({product.rows, product.cols, product.k_leaves, 1}));
    for (std::int64_t row = 0; row < product.rows; row += 64) {
      backend.pack_rows(*all.back(), row,
                        {group.data(), DType::kBFloat16, 64, product.cols, product.cols});
    }
  }
  return all;
}

}  // namespace

void gemm_cases(Reporter& reporter) {
  kernels::Backend& backend = reporter.backend();
  for (const Product& product : kProducts) {
    const auto weights = weights_of(backend, product);
    for (const std::int64_t m : {32, 128, 512, 2048}) {
      const kernels::Buffer a = random_bf16(backend, m * product.cols);
      const kernels::Buffer c = backend.allocate(m * product.rows * 4);
      const double bytes = static_cast<double>(product.rows * product.cols * 2 +
                                               m * product.cols * 2 + m * product.rows * 4);
      const double flops = 2.0 * static_cast<double>(m * product.rows * product.cols);
      reporter.row(std::string("gemm ") + product.name + ", " + std::to_string(m) + " rows", bytes,
                   flops, [&](int run) {
                     backend.gemm({a.data(), DType::kBFloat16, m, product.cols, product.cols},
                                  *weights[static_cast<std::size_t>(run) % weights.size()],
                                  {c.data(), DType::kFloat32, m, product.rows, product.rows});
                   });
    }
  }
}

}  // namespace tessera::benchmarks

#include <numeric>
#include <string>
#include <vector>

#include "benchmarks/kernels_cuda/reporter.h"

namespace tessera::benchmarks {
namespace {

constexpr std::int64_t kHidden = 4096;
constexpr std::int64_t kIntermediate = 12288;
constexpr std::int64_t kVocabSize = 151936;
constexpr std::int64_t kSets = 4;  // of inputs in turn

MatrixView part(
    const kernels::Buffer& buffer, DType dtype, std::int64_t rows, std::int64_t cols, int run) {
  const std::int64_t set = run % kSets;
  return {buffer.as<std::byte>() + set * rows * cols * size_of(dtype), dtype, rows, cols, cols};
}

}  // namespace

void row_cases(Reporter& reporter) {
  kernels::Backend& backend = reporter.backend();
  const kernels::Buffer weight = random_fp32(backend, kHidden);
  const auto weights = weight.values<const float>();
  for (const std::int64_t rows : {32, 512, 2048}) {
    const std::string suffix = ", " + std::to_string(rows) + " rows";
    const auto count = static_cast<double>(rows);
    const kernels::Buffer x = random_fp32(backend, kSets * rows * kHidden);
    const kernels::Buffer delta = random_fp32(backend, kSets * rows * kHidden);
    const kernels::Buffer normed = backend.allocate(kSets * rows * kHidden * 2);
    reporter.row("rms_norm" + suffix, count * kHidden * 6, 0, [&](int run) {
      backend.rms_norm(part(x, DType::kFloat32, rows, kHidden, run), weights, 1e-6F,
                       part(normed, DType::kBFloat16, rows, kHidden, run));
    });
    reporter.row("add_rms_norm" + suffix, count * kHidden * 14, 0, [&](int run) {
      backend.add_rms_norm(part(x, DType::kFloat32, rows, kHidden, run),
                           part(delta, DType::kFloat32, rows, kHidden, run), weights, 1e-6F,
                           part(normed, DType::kBFloat16, rows, kHidden, run));
    });
    const kernels::Buffer gate_up = random_fp32(backend, kSets * rows * 2 * kIntermediate);
    const kernels::Buffer product = backend.allocate(kSets * rows * kIntermediate * 2);
    reporter.row("act_mul" + suffix, count * kIntermediate * 10, 0, [&](int run) {
      backend.act_mul(Activation::kSilu,
                      part(gate_up, DType::kFloat32, rows, 2 * kIntermediate, run),
                      part(product, DType::kBFloat16, rows, kIntermediate, run));
    });
    for (const std::int64_t ranks : {2, 4}) {
      const std::int64_t values = rows * kHidden;
      reporter.row("sum_parts of " + std::to_string(ranks) + suffix,
                   static_cast<double>((ranks + 1) * values) * 4, 0, [&](int run) {
                     const MatrixView sum = part(x, DType::kFloat32, 1, values, run);
                     backend.sum_parts(
                         part(gate_up, DType::kFloat32, ranks, values, run),
                         {static_cast<float*>(sum.data), static_cast<std::size_t>(values)});
                   });
    }
    const kernels::Buffer table = random_bf16(backend, kVocabSize * kHidden);
    std::vector<TokenId> ids(static_cast<std::size_t>(rows));
    for (std::size_t i = 0; i < ids.size(); ++i) {
      ids[i] = static_cast<TokenId>(i * 7919 % kVocabSize);
    }
    reporter.row("gather_embeddings" + suffix, count * kHidden * 6, 0, [&](int run) {
      backend.gather_embeddings(
          ConstMatrixView{table.data(), DType::kBFloat16, kVocabSize, kHidden, kHidden}, 0, ids,
          part(x, DType::kFloat32, rows, kHidden, run));
    });
  }
}

}  // namespace tessera::benchmarks

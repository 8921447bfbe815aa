#include <gtest/gtest.h>

#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "kernels/partition.h"
#include "tests/kernels/matrix.h"

namespace tessera::kernels::cuda {
namespace {

constexpr std::int32_t kExperts = 8;
constexpr std::int32_t kPerToken = 2;
constexpr std::int64_t kMoeRows = 70;
constexpr std::int64_t kHidden = 72;
constexpr std::int64_t kWidth = 64;

std::unique_ptr<PackedMatrix> packed(Backend& backend, const PackShape& shape, std::uint32_t seed) {
  auto matrix = backend.create_packed(shape);
  Matrix rows = random_matrix(shape.rows, shape.cols, seed);
  for (float& x : rows.values) x *= 0.3F;
  backend.pack_rows(*matrix, 0, rows.view());
  return matrix;
}

Matrix run(const CudaOptions& options, std::int32_t down_leaves) {
  const auto backend = create_cuda_backend(options);
  ExpertWeights weights;
  weights.num_experts = kExperts;
  weights.num_leaves = kNumLeaves;
  weights.gate_up = packed(*backend, {2 * kExperts * kWidth, kHidden, 1, kExperts, true}, 1);
  weights.down = packed(*backend, {kExperts * kHidden, kWidth, down_leaves, kExperts}, 2);
  weights.shared_gate_up = packed(*backend, {2 * kWidth, kHidden, 1, 1, true}, 3);
  weights.shared_down = packed(*backend, {kHidden, kWidth, kNumLeaves, 1}, 4);
  const TypedMatrix x(DType::kBFloat16, random_matrix(kMoeRows, kHidden, 5));
  std::vector<std::int32_t> experts;
  for (std::int32_t row = 0; row < kMoeRows; ++row) {
    experts.push_back(row % 3);
    experts.push_back(3 + row % 5);
  }
  const std::vector<float> expert_weights(experts.size(), 0.75F);
  std::vector<std::byte> workspace(
      static_cast<std::size_t>(backend->moe_workspace_bytes(weights, kPerToken, kMoeRows)));
  Matrix out(kMoeRows, kHidden);
  backend->moe_experts({.x = x.view(),
                        .weights = &weights,
                        .activation = Activation::kSilu,
                        .experts_per_token = kPerToken,
                        .experts = experts,
                        .expert_weights = expert_weights,
                        .workspace = workspace,
                        .out = out.view()});
  return out;
}

// The case lists run in deterministic mode: the other mode makes one pass over all leaves.
TEST(CudaMoeTest, BothModesAgree) {
  for (const std::int32_t down_leaves : {1, kNumLeaves}) {  // by expert, by width
    const Matrix one = run({.deterministic = true}, down_leaves);
    const Matrix other = run({.deterministic = false}, down_leaves);
    for (std::int64_t row = 0; row < kMoeRows; ++row) {
      for (std::int64_t n = 0; n < kHidden; ++n) {
        ASSERT_NEAR(one.at(row, n), other.at(row, n), 1e-3) << row << ", " << n;
      }
    }
  }
}

}  // namespace
}  // namespace tessera::kernels::cuda

#include <set>
#include <string>
#include <vector>

#include "benchmarks/kernels_cuda/reporter.h"

namespace tessera::benchmarks {
namespace {

// SDAR-30B-A3B.
constexpr std::int64_t kHidden = 2048;
constexpr std::int64_t kWidth = 768;
constexpr std::int32_t kExperts = 128;
constexpr std::int32_t kPerToken = 8;
constexpr std::int32_t kLeaves = 8;

std::unique_ptr<kernels::PackedMatrix> packed(kernels::Backend& backend,
                                              const kernels::PackShape& shape) {
  constexpr std::int64_t kGroup = 64;
  auto matrix = backend.create_packed(shape);
  std::vector<std::uint16_t> rows(static_cast<std::size_t>(kGroup * shape.cols));
  const kernels::Buffer random = random_bf16(backend, kGroup * shape.cols, 0.05F);
  backend.download(random.data(), rows.data(), random.num_bytes());
  for (std::int64_t row = 0; row < shape.rows; row += kGroup) {
    backend.pack_rows(*matrix, row,
                      {rows.data(), DType::kBFloat16, kGroup, shape.cols, shape.cols});
  }
  return matrix;
}

kernels::ExpertWeights layer(kernels::Backend& backend) {
  kernels::ExpertWeights weights;
  weights.num_experts = kExperts;
  weights.num_leaves = kLeaves;
  weights.gate_up = packed(backend, {2 * kExperts * kWidth, kHidden, 1, kExperts, true});
  weights.down = packed(backend, {kExperts * kHidden, kWidth, kLeaves, kExperts});
  return weights;
}

template <typename T>
std::span<T> values_of(const kernels::Buffer& buffer, std::size_t count) {
  return buffer.values<T>().first(count);
}

}  // namespace

void moe_cases(Reporter& reporter) {
  kernels::Backend& backend = reporter.backend();
  const kernels::ExpertWeights weights = layer(backend);
  for (const std::int64_t rows : {32, 512, 2048}) {
    const std::string suffix = ", " + std::to_string(rows) + " rows";
    const auto slots = static_cast<std::size_t>(rows * kPerToken);
    const kernels::Buffer logits = random_fp32(backend, rows * kExperts);
    const kernels::Buffer experts = backend.allocate(rows * kPerToken * 4);
    const kernels::Buffer chosen = backend.allocate(rows * kPerToken * 4);
    const kernels::RouteArgs route{
        .logits = {logits.data(), DType::kFloat32, rows, kExperts, kExperts},
        .bias = {},
        .experts_per_token = kPerToken,
        .expert_scale = {},
        .experts = values_of<std::int32_t>(experts, slots),
        .weights = values_of<float>(chosen, slots)};
    reporter.row("moe_route" + suffix, static_cast<double>(rows * (kExperts + 2 * kPerToken) * 4),
                 0, [&](int) { backend.moe_route(route); });

    std::vector<std::int32_t> ids(slots);
    backend.download(experts.data(), ids.data(), static_cast<std::int64_t>(slots * sizeof ids[0]));
    const auto distinct =
        static_cast<double>(std::set<std::int32_t>(ids.begin(), ids.end()).size());
    const kernels::Buffer x = random_bf16(backend, rows * kHidden);
    const kernels::Buffer out = backend.allocate(rows * kHidden * 4);
    const kernels::Buffer workspace =
        backend.allocate(backend.moe_workspace_bytes(weights, kPerToken, rows));
    const double bytes =
        distinct * 3 * kHidden * kWidth * 2 + static_cast<double>(rows) * kHidden * 6;
    reporter.row(
        "moe_experts" + suffix, bytes, static_cast<double>(slots) * 3 * 2 * kHidden * kWidth,
        [&](int) {
          backend.moe_experts({.x = {x.data(), DType::kBFloat16, rows, kHidden, kHidden},
                               .weights = &weights,
                               .activation = Activation::kSilu,
                               .experts_per_token = kPerToken,
                               .experts = route.experts,
                               .expert_weights = route.weights,
                               .workspace = workspace.values<std::byte>(),
                               .out = {out.data(), DType::kFloat32, rows, kHidden, kHidden}});
        });
  }
}

}  // namespace tessera::benchmarks

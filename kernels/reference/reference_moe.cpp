#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/partition.h"
#include "kernels/reference/reference_ops.h"

namespace tessera::kernels {
namespace {

double activated(Activation activation, double x) {
  if (activation == Activation::kSilu) return x / (1.0 + std::exp(-x));
  constexpr double kRootTwoOverPi = 0.79788456080286536;
  return x / (1.0 + std::exp(-2.0 * kRootTwoOverPi * (x + 0.044715 * x * x * x)));
}

/// One row on its way through experts; keeps the sums of its leaves.
class RowExperts {
 public:
  RowExperts(const MoeArgs& args, std::int32_t num_leaves)
      : args_(args), num_leaves_(num_leaves), width_(static_cast<std::size_t>(args.out.cols)) {
    for (auto& leaf : leaves_) leaf.assign(width_, 0.0);
  }

  void run(std::int64_t row) {
    for (auto& leaf : leaves_) std::fill(leaf.begin(), leaf.end(), 0.0);
    const auto k = static_cast<std::size_t>(args_.experts_per_token);
    for (std::size_t i = 0; i < k; ++i) {
      const std::size_t slot = static_cast<std::size_t>(row) * k + i;
      const auto expert = static_cast<std::size_t>(args_.experts[slot]);
      add(row, *args_.weights->gate_up[expert], *args_.weights->down[expert],
          double{args_.expert_weights[slot]});
    }
    if (args_.weights->shared_down) {
      add(row, *args_.weights->shared_gate_up, *args_.weights->shared_down, 1.0);
    }
    write(static_cast<float*>(args_.out.row(row)));
  }

 private:
  void add(std::int64_t row, const PackedMatrix& gate_up, const PackedMatrix& down, double weight) {
    const ReferenceMatrix& in = reference_matrix(gate_up);
    const ReferenceMatrix& out = reference_matrix(down);
    gate_up_.resize(static_cast<std::size_t>(in.shape().rows));
    product_.resize(gate_up_.size() / 2);
    const ConstMatrixView x{args_.x.row(row), DType::kFloat32, 1, args_.x.cols, args_.x.cols};
    gemm_reference(x, in, {gate_up_.data(), DType::kFloat32, 1, in.shape().rows, in.shape().rows});
    gated_product(args_.activation, gate_up_, product_);
    for (std::int32_t leaf = 0; leaf < num_leaves_; ++leaf) {
      add_leaf_products(product_.data(), out, leaf, weight,
                        leaves_[static_cast<std::size_t>(leaf)]);
    }
  }

  void write(float* out) {
    for (std::size_t n = 0; n < width_; ++n) {
      std::array<float, kNumLeaves> sums{};
      for (std::size_t leaf = 0; leaf < static_cast<std::size_t>(num_leaves_); ++leaf) {
        sums[leaf] = static_cast<float>(leaves_[leaf][n]);
      }
      for_each_branch(num_leaves_, [&](std::int32_t left, std::int32_t right) {
        sums[static_cast<std::size_t>(left)] += sums[static_cast<std::size_t>(right)];
      });
      out[n] = sums[0];
    }
  }

  const MoeArgs& args_;
  std::int32_t num_leaves_;
  std::size_t width_;
  std::array<std::vector<double>, kNumLeaves> leaves_;
  std::vector<float> gate_up_;
  std::vector<float> product_;
};

}  // namespace

void gated_product(Activation activation,
                   std::span<const float> gate_up,
                   std::span<float> product) {
  for (std::size_t j = 0; j < product.size(); ++j) {
    product[j] =
        static_cast<float>(activated(activation, gate_up[j]) * double{gate_up[product.size() + j]});
  }
}

void moe_experts_reference(const MoeArgs& args) {
  RowExperts row_experts(args, args.weights->down.front()->shape().k_leaves);
  for (std::int64_t row = 0; row < args.x.rows; ++row) row_experts.run(row);
}

}  // namespace tessera::kernels

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
    const ExpertWeights& weights = *args_.weights;
    const auto k = static_cast<std::size_t>(args_.experts_per_token);
    for (std::size_t i = 0; i < k; ++i) {
      const std::size_t slot = static_cast<std::size_t>(row) * k + i;
      const std::int32_t expert = args_.experts[slot] - weights.first_expert;
      if (expert < 0 || expert >= weights.num_local()) continue;
      multiply_in(row, *weights.gate_up, expert);
      const std::int32_t leaf = weights.is_by_expert() ? weights.leaf_of(expert) : 0;
      multiply_out(*weights.down, expert, leaf, double{args_.expert_weights[slot]});
    }
    if (weights.shared_down) {
      multiply_in(row, *weights.shared_gate_up, 0);
      multiply_out(*weights.shared_down, 0, 0, 1.0);
    }
    write(static_cast<float*>(args_.out.row(row)));
  }

 private:
  void multiply_in(std::int64_t row, const PackedMatrix& gate_up, std::int32_t expert) {
    const ReferenceMatrix& in = reference_matrix(gate_up);
    const std::int64_t rows = in.shape().rows / in.shape().row_leaves;
    sums_.assign(static_cast<std::size_t>(rows), 0.0);
    add_leaf_products(static_cast<const float*>(args_.x.row(row)), in, expert * rows, 0, 1.0,
                      sums_);
    gate_up_.assign(sums_.begin(), sums_.end());
    product_.resize(gate_up_.size() / 2);
    gated_product(args_.activation, gate_up_, product_);
  }

  // Leaf i of the product goes to leaf first_leaf + i of the row.
  void multiply_out(const PackedMatrix& down,
                    std::int32_t expert,
                    std::int32_t first_leaf,
                    double weight) {
    const ReferenceMatrix& out = reference_matrix(down);
    for (std::int32_t leaf = 0; leaf < out.shape().k_leaves; ++leaf) {
      add_leaf_products(product_.data(), out, expert * args_.out.cols, leaf, weight,
                        leaves_[static_cast<std::size_t>(first_leaf + leaf)]);
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
  std::vector<double> sums_;
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
  RowExperts row_experts(args, args.weights->num_leaves);
  for (std::int64_t row = 0; row < args.x.rows; ++row) row_experts.run(row);
}

}  // namespace tessera::kernels

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "common/tensor/matrix_view.h"
#include "kernels/packed_matrix.h"

namespace tessera::kernels {

enum class Activation : std::uint8_t {
  kSilu,      ///< x / (1 + exp(-x))
  kGeluTanh,  ///< x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
};

enum class RouterScore : std::uint8_t {
  kSoftmax,  ///< over all experts
  kSigmoid,  ///< of every logit alone
};

/// Choice of experts. With s the scores of a row's logits and r = s + bias:
///
///     of num_groups equal groups of neighbours keep the groups_per_token with the largest sum of
///     their two largest r; of the experts in them choose the experts_per_token largest r;
///     weight = s, divided by the sum of the chosen s if `normalise`, times `scale`, times
///     expert_scale
///
/// The lower index wins among equals. k: experts_per_token.
struct RouteArgs {
  ConstMatrixView logits;  ///< fp32 [rows, experts]
  RouterScore score = RouterScore::kSoftmax;
  std::span<const float> bias;  ///< [experts] or empty
  std::int32_t num_groups = 1;
  std::int32_t groups_per_token = 1;
  std::int32_t experts_per_token = 1;
  bool normalise = true;
  float scale = 1.0F;
  std::span<const float> expert_scale;  ///< [experts] or empty
  std::span<std::int32_t> experts;      ///< out [rows, k], ascending in a row
  std::span<float> weights;             ///< out [rows, k]
};

/// One rank's share of the experts of a layer: rows of gate and up, columns of down. All routed
/// ones have one shape; the shared ones are one MLP of a width of its own.
struct ExpertWeights {
  std::vector<std::unique_ptr<PackedMatrix>> gate_up;  ///< [experts] of [2 I, hidden]
  std::vector<std::unique_ptr<PackedMatrix>> down;  ///< [experts] of [hidden, I], k_leaves leaves
  std::unique_ptr<PackedMatrix> shared_gate_up;     ///< [2 I_s, hidden]; null: none
  std::unique_ptr<PackedMatrix> shared_down;        ///< [hidden, I_s], as many leaves
};

/// Mixture of experts. Leaf i of a row (partition.h) is
///
///     sum over its experts e, ascending, of weight_e leaf_i(down_e h_e) + leaf_i(shared down h_s)
///
/// with h = act(gate x) * up x in the activation dtype; this rank's leaves are combined in tree
/// order, so that ranks' partials are added in the order of for_each_branch.
struct MoeArgs {
  ConstMatrixView x;  ///< activation dtype [rows, hidden]
  const ExpertWeights* weights = nullptr;
  Activation activation = Activation::kSilu;
  std::int32_t experts_per_token = 1;
  std::span<const std::int32_t> experts;  ///< [rows, k], ascending in a row
  std::span<const float> expert_weights;  ///< [rows, k]
  std::span<std::byte> workspace;         ///< moe_workspace_bytes()
  MatrixView out;                         ///< fp32 [rows, hidden]
};

/// The choice itself, in fp64 on one thread, for back ends whose logits are in host memory.
/// @throws Error{kInvalidArgument} for shapes that do not fit.
void route_rows(const RouteArgs& args, std::int64_t begin, std::int64_t end);

void check_route(const RouteArgs& args);
void check_moe(const MoeArgs& args, DType activation);

}  // namespace tessera::kernels

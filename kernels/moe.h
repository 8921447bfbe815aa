#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/tensor/activation.h"
#include "common/tensor/matrix_view.h"
#include "kernels/packed_matrix.h"

namespace tessera::kernels {

enum class RouterScore : std::uint8_t {
  kSoftmax,  ///< over all experts
  kSigmoid,  ///< of every logit alone
};

/// Experts that a router may choose from.
inline constexpr std::int64_t kMaxRoutedExperts = 1024;

/// Choice of experts. With s the scores of a row's logits and r = s + bias:
///
///     of num_groups equal groups of neighbours keep the groups_per_token with the largest sum of
///     their two largest r; of the experts in them choose the experts_per_token largest r;
///     weight = s, divided by the sum of the chosen s if `normalise`, times `scale`, times
///     expert_scale
///
/// The lower index wins among equals. k: experts_per_token.
struct RouteArgs {
  ConstMatrixView logits;  ///< fp32 [rows, experts], at most 1024
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

/// One rank's share of the experts of a layer. Routed ones, all of one shape, are one matrix per
/// kind, expert after expert (row leaves); the shared ones are one MLP of a width of its own.
///
/// Ranks divide the routed experts in one of two modes, which differ in bits:
///
///     by width    every rank has columns of every expert; down has num_leaves leaves
///     by expert   every rank has num_experts / ranks whole experts; down has one leaf
struct ExpertWeights {
  std::int32_t num_experts = 0;           ///< Of the layer.
  std::int32_t first_expert = 0;          ///< Of the n that this rank has.
  std::int32_t num_leaves = 1;            ///< Of the sum over ranks that are here: 8 / ranks.
  std::unique_ptr<PackedMatrix> gate_up;  ///< [n, 2 I, hidden], gated
  std::unique_ptr<PackedMatrix> down;     ///< [n, hidden, I]
  std::unique_ptr<PackedMatrix> shared_gate_up;  ///< [2 I_s, hidden], gated; null: none
  std::unique_ptr<PackedMatrix> shared_down;     ///< [hidden, I_s], num_leaves leaves

  std::int32_t num_local() const { return down->shape().row_leaves; }
  bool is_by_expert() const { return down->shape().k_leaves != num_leaves; }
  /// The leaf that whole expert first_expert + i adds to. The same on any number of ranks.
  std::int32_t leaf_of(std::int32_t i) const { return i * num_leaves / num_local(); }
};

/// Mixture of experts. Leaf i of a row (partition.h) is
///
///     by width    sum over its experts e, ascending, of weight_e leaf_i(down_e h_e)
///     by expert   sum over its experts e with leaf_of(e) = i, ascending, of weight_e down_e h_e
///
/// plus leaf_i(shared down h_s), with h = act(gate x) * up x in the activation dtype; this rank's
/// leaves are combined in tree order, so that ranks' partials are added in the order of
/// for_each_branch. Experts of other ranks are passed over.
struct MoeArgs {
  ConstMatrixView x;  ///< activation dtype [rows, hidden]
  const ExpertWeights* weights = nullptr;
  Activation activation = Activation::kSilu;
  std::int32_t experts_per_token = 1;
  std::span<const std::int32_t> experts;  ///< [rows, k] of the layer, ascending in a row
  std::span<const float> expert_weights;  ///< [rows, k]
  std::span<std::byte> workspace;         ///< moe_workspace_bytes()
  MatrixView out;                         ///< fp32 [rows, hidden]
};

/// The choice itself, in fp64 on one thread, for back ends whose logits are in host memory.
/// @throws Error{kInvalidArgument} for shapes that do not fit.
void route_rows(const RouteArgs& args, std::int64_t begin, std::int64_t end);

/// What can be told without reading matrices and vectors, which may lie in a device's memory.
void check_route(const RouteArgs& args);
void check_moe(const MoeArgs& args, DType activation);

/// That args.experts, in host memory, are experts of the layer.
void check_expert_ids(const MoeArgs& args);

}  // namespace tessera::kernels

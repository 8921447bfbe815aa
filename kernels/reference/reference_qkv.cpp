#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/reference/reference_ops.h"

namespace tessera::kernels {
namespace {

using Head = std::array<double, 512>;  // head_dim at most

struct HeadTransform {
  bool normed = false;
  std::span<const float> weight;  // of the norm; empty: ones
  bool rotated = false;
};

void normalise(Head& head, std::int64_t dim, std::span<const float> weight, float eps) {
  double squares = 0.0;
  for (std::int64_t j = 0; j < dim; ++j) {
    const double x = head[static_cast<std::size_t>(j)];
    squares += x * x;
  }
  const double scale = 1.0 / std::sqrt(squares / static_cast<double>(dim) + double{eps});
  for (std::int64_t j = 0; j < dim; ++j) {
    const auto i = static_cast<std::size_t>(j);
    head[i] *= scale * (weight.empty() ? 1.0 : static_cast<double>(weight[i]));
  }
}

void rotate(Head& head, const ConstMatrixView& rope, Position position) {
  const std::int64_t half = rope.cols / 2;
  if (half == 0) return;
  const auto* table = static_cast<const float*>(rope.row(position));
  for (std::int64_t j = 0; j < half; ++j) {
    double& low = head[static_cast<std::size_t>(j)];
    double& high = head[static_cast<std::size_t>(j + half)];
    const double cosine = table[j];
    const double sine = table[half + j];
    const double turned = low * cosine - high * sine;
    high = high * cosine + low * sine;
    low = turned;
  }
}

// Head `index` of the fused row: bias, norm, rotation, rounding to out[0 .. head_dim).
void transform_head(const QkvArgs& args,
                    std::int64_t row,
                    std::int64_t index,
                    const HeadTransform& transform,
                    float* out) {
  const std::int64_t dim = args.pages.head_dim;
  const auto* in = static_cast<const float*>(args.qkv.row(row)) + index * dim;
  Head head;
  for (std::int64_t j = 0; j < dim; ++j) {
    const double bias =
        args.bias.empty() ? 0.0 : args.bias[static_cast<std::size_t>(index * dim + j)];
    head[static_cast<std::size_t>(j)] = in[j] + bias;
  }
  if (transform.normed) normalise(head, dim, transform.weight, args.eps);
  if (transform.rotated) {
    rotate(head, args.rope, args.positions[static_cast<std::size_t>(row)]);
  }
  for (std::int64_t j = 0; j < dim; ++j) {
    out[j] = static_cast<float>(head[static_cast<std::size_t>(j)]);
  }
}

}  // namespace

void qk_norm_rope_store_reference(const QkvArgs& args) {
  const std::int64_t dim = args.pages.head_dim;
  const std::int64_t num_q = args.num_q_heads;
  const std::int64_t num_kv = args.pages.num_kv_heads;
  for (std::int64_t row = 0; row < args.qkv.rows; ++row) {
    auto* q = static_cast<float*>(args.q.row(row));
    auto* k = static_cast<float*>(args.k.row(row));
    auto* v = static_cast<float*>(args.v.row(row));
    for (std::int64_t h = 0; h < num_q; ++h) {
      transform_head(args, row, h, {!args.q_norm.empty(), args.q_norm, true}, q + h * dim);
    }
    for (std::int64_t h = 0; h < num_kv; ++h) {
      transform_head(args, row, num_q + h, {!args.k_norm.empty(), args.k_norm, true}, k + h * dim);
      transform_head(args, row, num_q + (args.value_from_key ? 0 : num_kv) + h,
                     {args.value_norm, {}, false}, v + h * dim);
    }
    const std::int64_t slot = args.slots[static_cast<std::size_t>(row)];
    if (slot < 0) continue;
    std::copy_n(k, num_kv * dim, static_cast<float*>(args.pages.k) + slot * num_kv * dim);
    std::copy_n(v, num_kv * dim, static_cast<float*>(args.pages.v) + slot * num_kv * dim);
  }
}

}  // namespace tessera::kernels

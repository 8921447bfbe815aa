#include <algorithm>
#include <array>
#include <cmath>

#include "kernels/partition.h"
#include "kernels/reference/reference_ops.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kTile = 64;  // outputs whose sums are kept at a time
using Tile = std::array<float, kTile>;

// Sum over k in [begin, end) of a[k] w[k][first ... first + count), rounded to fp32.
Tile leaf_sum(const float* a,
              const ReferenceMatrix& w,
              std::int64_t begin,
              std::int64_t end,
              std::int64_t first,
              std::int64_t count) {
  std::array<double, kTile> sums{};
  for (std::int64_t k = begin; k < end; ++k) {
    const double x = a[k];
    const float* weights = w.values() + k * w.shape().rows + first;
    for (std::int64_t n = 0; n < count; ++n) {
      sums[static_cast<std::size_t>(n)] += x * static_cast<double>(weights[n]);
    }
  }
  Tile rounded{};
  std::transform(sums.begin(), sums.end(), rounded.begin(),
                 [](double sum) { return static_cast<float>(sum); });
  return rounded;
}

}  // namespace

void add_leaf_products(const float* a,
                       const ReferenceMatrix& w,
                       std::int64_t first_row,
                       std::int32_t leaf,
                       double scale,
                       std::span<double> sums) {
  const std::int64_t leaf_len = w.shape().cols / w.shape().k_leaves;
  const auto num_rows = static_cast<std::int64_t>(sums.size());
  for (std::int64_t first = 0; first < num_rows; first += kTile) {
    const std::int64_t count = std::min(kTile, num_rows - first);
    const Tile tile =
        leaf_sum(a, w, leaf * leaf_len, (leaf + 1) * leaf_len, first_row + first, count);
    for (std::int64_t n = 0; n < count; ++n) {
      sums[static_cast<std::size_t>(first + n)] +=
          scale * double{tile[static_cast<std::size_t>(n)]};
    }
  }
}

void gemm_reference(const ConstMatrixView& a, const ReferenceMatrix& w, const MatrixView& c) {
  const PackShape& shape = w.shape();
  const std::int64_t leaf = shape.cols / shape.k_leaves;
  for (std::int64_t row = 0; row < a.rows; ++row) {
    const auto* x = static_cast<const float*>(a.row(row));
    auto* out = static_cast<float*>(c.row(row));
    for (std::int64_t first = 0; first < shape.rows; first += kTile) {
      const std::int64_t count = std::min(kTile, shape.rows - first);
      std::array<Tile, kNumLeaves> leaves;
      for (std::int64_t i = 0; i < shape.k_leaves; ++i) {
        leaves[static_cast<std::size_t>(i)] =
            leaf_sum(x, w, i * leaf, (i + 1) * leaf, first, count);
      }
      for_each_branch(shape.k_leaves, [&](std::int32_t left, std::int32_t right) {
        Tile& sum = leaves[static_cast<std::size_t>(left)];
        const Tile& other = leaves[static_cast<std::size_t>(right)];
        for (std::size_t n = 0; n < sum.size(); ++n) sum[n] += other[n];
      });
      std::copy_n(leaves[0].begin(), count, out + first);
    }
  }
}

// The table is [hidden][ids]: an output is a sum over a stretch of one row of it.
void soft_embedding_reference(const SoftEmbeddingArgs& args) {
  const ReferenceMatrix& table = reference_matrix(*args.table);
  const PackShape& shape = table.shape();
  const std::int64_t leaf = shape.rows / shape.row_leaves;
  auto* probabilities = reinterpret_cast<float*>(args.workspace.data());
  for (std::int64_t row = 0; row < args.out.rows; ++row) {
    const auto* logits = static_cast<const float*>(args.logits.row(row));
    const MeasurePartial& partial = args.partials[static_cast<std::size_t>(row)];
    for (std::int64_t id = 0; id < shape.rows; ++id) {
      const double distance = (double{logits[id]} - partial.max_logit) / partial.temperature;
      probabilities[id] = static_cast<float>(std::exp(distance) / partial.tempered_sum);
    }
    for (std::int64_t k = 0; k < shape.cols; ++k) {
      const float* weights = table.values() + k * shape.rows;
      std::array<float, kNumLeaves> leaves{};
      for (std::int64_t i = 0; i < shape.row_leaves; ++i) {
        double sum = 0.0;
        for (std::int64_t id = i * leaf; id < (i + 1) * leaf; ++id) {
          sum += double{probabilities[id]} * double{weights[id]};
        }
        leaves[static_cast<std::size_t>(i)] = static_cast<float>(sum);
      }
      for_each_branch(shape.row_leaves, [&](std::int32_t left, std::int32_t right) {
        leaves[static_cast<std::size_t>(left)] += leaves[static_cast<std::size_t>(right)];
      });
      static_cast<float*>(args.out.row(row))[k] = leaves[0];
    }
  }
}

}  // namespace tessera::kernels

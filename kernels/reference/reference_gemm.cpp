#include <algorithm>
#include <array>

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

}  // namespace tessera::kernels

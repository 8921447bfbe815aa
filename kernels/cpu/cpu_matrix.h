#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/ops.h"
#include "kernels/partition.h"

namespace tessera::kernels {

/// Outputs of a panel: four vectors of 16 fp32 sums.
inline constexpr std::int64_t kPanelWidth = 64;

/// bf16 weights in panels of 64 outputs, [panel][cols / 2][64][2]: the pairs along K that vdpbf16ps
/// multiplies lie together, and a panel is one stream. A row leaf starts a panel of its own, so
/// that a panel holds the same outputs on every number of ranks. A panel of a gated matrix has 32
/// outputs of gate and the same 32 of up: what is multiplied with each other comes together.
class CpuMatrix final : public PackedMatrix {
 public:
  explicit CpuMatrix(const PackShape& shape)
      : PackedMatrix(shape),
        leaf_rows_(shape.rows / shape.row_leaves),
        part_rows_(shape.gated ? leaf_rows_ / 2 : leaf_rows_),
        part_width_(shape.gated ? kPanelWidth / 2 : kPanelWidth),
        panels_per_leaf_(round_up(part_rows_, part_width_) / part_width_),
        panels_(shape.row_leaves * panels_per_leaf_ * panel_bytes()) {}

  std::int64_t num_bytes() const override { return panels_.num_bytes(); }
  std::int64_t panel_bytes() const { return shape().cols * kPanelWidth * 2; }
  std::int64_t panels_per_leaf() const { return panels_per_leaf_; }
  std::int64_t num_panels() const { return shape().row_leaves * panels_per_leaf_; }
  std::byte* panel(std::int64_t index) const {
    return panels_.as<std::byte>() + index * panel_bytes();
  }

  /// First output of a panel, and their number. Not of a gated matrix.
  std::int64_t first_row(std::int64_t panel_index) const {
    return panel_index / panels_per_leaf_ * leaf_rows_ +
           panel_index % panels_per_leaf_ * kPanelWidth;
  }
  std::int64_t width(std::int64_t panel_index) const {
    return std::min(kPanelWidth, leaf_rows_ - panel_index % panels_per_leaf_ * kPanelWidth);
  }

  /// Where the weights of an output are: the pair of columns 2 i, 2 i + 1 at
  /// panel(index) + (i * 64 + column) * 4.
  struct Place {
    std::int64_t panel = 0;
    std::int64_t column = 0;
    std::int64_t count = 1;  ///< Outputs from this one on that lie side by side.
  };
  Place place(std::int64_t row) const {
    const std::int64_t in_leaf = row % leaf_rows_;
    const std::int64_t part = in_leaf / part_rows_;  // 1: up
    const std::int64_t in_part = in_leaf % part_rows_;
    const std::int64_t column = in_part % part_width_;
    return {row / leaf_rows_ * panels_per_leaf_ + in_part / part_width_,
            part * part_width_ + column, std::min(part_width_ - column, part_rows_ - in_part)};
  }

 private:
  std::int64_t leaf_rows_;
  std::int64_t part_rows_;   ///< Of gate or of up; else of the leaf.
  std::int64_t part_width_;  ///< Outputs of a part in a panel.
  std::int64_t panels_per_leaf_;
  Buffer panels_;
};

/// Rounds rows [first_row + begin, first_row + end) of Backend::pack_rows into their places.
void pack_rows_cpu(const CpuMatrix& matrix,
                   std::int64_t first_row,
                   const ConstMatrixView& rows,
                   std::int64_t begin,
                   std::int64_t end);

/// out[0 .. cols) = a row of the matrix.
void unpack_row_cpu(const CpuMatrix& matrix, std::int64_t row, float* out);

}  // namespace tessera::kernels

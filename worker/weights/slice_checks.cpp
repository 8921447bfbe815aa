#include "worker/weights/slice_checks.h"

#include <algorithm>
#include <cstring>

#include "common/base/error.h"

namespace tessera {

IndexRange clamped(IndexRange range, std::int64_t size) {
  return {std::min(range.begin, size), std::min(range.end, size)};
}

std::int64_t rows_per_part(std::int64_t row_bytes) {
  constexpr std::int64_t kPartBytes = 4 << 20;
  constexpr std::int64_t kRowGroup = 64;
  const std::int64_t fitting = kPartBytes / std::max<std::int64_t>(1, row_bytes);
  return std::max(kRowGroup, fitting / kRowGroup * kRowGroup);
}

void check_range(IndexRange range) {
  TESSERA_CHECK(range.begin >= 0 && range.begin <= range.end, "range [", range.begin, ", ",
                range.end, ")");
}

void check_matrix_slice(IndexRange rows, IndexRange cols, const MatrixView& out) {
  check_range(rows);
  check_range(cols);
  TESSERA_CHECK(out.dtype == DType::kFloat32 || out.dtype == DType::kBFloat16, "weights as ",
                name_of(out.dtype));
  TESSERA_CHECK(out.rows >= rows.size() && out.cols >= cols.size() && out.row_stride >= out.cols,
                "a slice of ", rows.size(), " x ", cols.size(), " into ", out.rows, " x ",
                out.cols);
}

void zero_outside(IndexRange rows,
                  IndexRange cols,
                  IndexRange stored_rows,
                  IndexRange stored_cols,
                  const MatrixView& out) {
  const std::int64_t element = size_of(out.dtype);
  for (std::int64_t row = rows.begin; row < rows.end; ++row) {
    const bool is_stored = row >= stored_rows.begin && row < stored_rows.end;
    const std::int64_t kept = is_stored ? stored_cols.size() : 0;
    auto* first = static_cast<std::byte*>(out.row(row - rows.begin));
    std::memset(first + kept * element, 0,
                static_cast<std::size_t>((cols.size() - kept) * element));
  }
}

}  // namespace tessera

#pragma once

#include <cstdint>

#include "common/model_spec/sharding.h"
#include "common/tensor/matrix_view.h"

namespace tessera {

/// The part of `range` that a dimension of `size` elements has; empty at its end if none.
IndexRange clamped(IndexRange range, std::int64_t size);

/// @throws Error{kInternal} unless 0 <= begin <= end.
void check_range(IndexRange range);

/// Rows of a part of TensorSource::visit_matrix: about 4 MB, in multiples of 64, which back ends
/// pack fastest.
std::int64_t rows_per_part(std::int64_t row_bytes);

/// Checks the arguments of TensorSource::read_matrix.
/// @throws Error{kInternal}
void check_matrix_slice(IndexRange rows, IndexRange cols, const MatrixView& out);

/// Zeroes what of rows x cols lies outside stored_rows x stored_cols, in the upper left of `out`.
void zero_outside(IndexRange rows,
                  IndexRange cols,
                  IndexRange stored_rows,
                  IndexRange stored_cols,
                  const MatrixView& out);

}  // namespace tessera

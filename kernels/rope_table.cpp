#include "kernels/rope_table.h"

#include <cmath>

#include "common/base/error.h"

namespace tessera::kernels {

void fill_rope_table(std::span<const double> inverse_frequencies, MatrixView table) {
  const auto half = static_cast<std::int64_t>(inverse_frequencies.size());
  TESSERA_REQUIRE(table.dtype == DType::kFloat32 && table.cols == 2 * half, "rope table of ",
                  table.cols, " columns of ", name_of(table.dtype), " for ", half, " frequencies");
  for (std::int64_t position = 0; position < table.rows; ++position) {
    auto* row = static_cast<float*>(table.row(position));
    for (std::int64_t j = 0; j < half; ++j) {
      const double angle =
          static_cast<double>(position) * inverse_frequencies[static_cast<std::size_t>(j)];
      row[j] = static_cast<float>(std::cos(angle));
      row[half + j] = static_cast<float>(std::sin(angle));
    }
  }
}

}  // namespace tessera::kernels

#include "worker/runtime/step_shapes.h"

#include <algorithm>
#include <functional>

#include "common/base/error.h"

namespace tessera {
namespace {

// Below, products cost as much as their weights take to read.
constexpr std::int64_t kCheapRows = 128;

}  // namespace

// 16, 32, 64, 128, then two in every doubling.
StepShapes::StepShapes(std::int64_t max_rows) {
  TESSERA_REQUIRE(max_rows >= 1, "steps of up to ", max_rows, " rows");
  const std::int64_t largest = std::min(max_rows, kMaxRows);
  for (std::int64_t size = 16; size < largest; size *= 2) {
    sizes_.push_back(size);
    if (size >= kCheapRows && size * 3 / 2 < largest) sizes_.push_back(size * 3 / 2);
  }
  sizes_.push_back(largest);
}

std::optional<StepShape> StepShapes::shape_of(std::int64_t num_rows,
                                              std::int64_t num_measured) const {
  // A row may be measured more than once.
  const std::int64_t needed = std::max(num_rows, num_measured);
  if (num_rows == 0 || needed > sizes_.back()) return std::nullopt;
  const std::int64_t rows = size_of(needed);
  return StepShape{rows, measured_of(rows, num_measured)};
}

std::vector<StepShape> StepShapes::all() const {
  std::vector<StepShape> shapes;
  for (const std::int64_t rows : sizes_) {
    shapes.push_back({rows, 0});
    for (const std::int64_t measured : sizes_) {
      if (measured <= rows && measured_of(rows, measured) == measured) {
        shapes.push_back({rows, measured});
      }
    }
  }
  std::ranges::sort(shapes, std::greater<>());
  return shapes;
}

std::int64_t StepShapes::size_of(std::int64_t count) const {
  return *std::ranges::lower_bound(sizes_, count);
}

std::int64_t StepShapes::measured_of(std::int64_t rows, std::int64_t num_measured) const {
  if (num_measured == 0) return 0;
  return size_of(std::max(num_measured, std::min(rows, kCheapRows)));
}

}  // namespace tessera

#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <vector>

namespace tessera {

/// Sizes of what a step does, after padding.
struct StepShape {
  std::int64_t rows = 0;
  std::int64_t measured = 0;  ///< Rows measured with the LM head.

  auto operator<=>(const StepShape&) const = default;
};

/// The shapes that steps are padded to: few, so that a graph of each serves all steps, and close
/// enough that padding costs little.
class StepShapes {
 public:
  /// Steps of more rows take long enough to be launched operation by operation meanwhile.
  static constexpr std::int64_t kMaxRows = 2048;

  /// @param max_rows  Of a step; >= 1.
  explicit StepShapes(std::int64_t max_rows);

  /// The smallest shape that holds a step; none for a step of no rows or of more than kMaxRows.
  std::optional<StepShape> shape_of(std::int64_t num_rows, std::int64_t num_measured) const;

  /// All of them, the largest first.
  std::vector<StepShape> all() const;

 private:
  std::int64_t size_of(std::int64_t count) const;
  std::int64_t measured_of(std::int64_t num_rows, std::int64_t num_measured) const;

  std::vector<std::int64_t> sizes_;  // ascending
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/decoding/step_plan.h"
#include "kernels/ops.h"

namespace tessera {

/// softmax(z) E of every position of the canvases in progress, as the last denoising step left it:
/// what the next step is conditioned on (Span::self_conditioning). The same on every rank. Memory
/// is reserved once. Owned by the rank's main thread.
class CanvasStates {
 public:
  /// @param max_sequences  Most sequences known at a time.
  CanvasStates(std::int32_t max_sequences,
               std::int32_t canvas_length,
               std::int64_t hidden_size,
               kernels::Backend& backend);

  /// Forgets the canvases of sequences; most of them have none.
  void release(std::span<const RequestId> requests);

  /// Adds the rows of table() that the rows of a canvas are conditioned on.
  /// @throws Error{kInternal} if the span is conditioned and its canvas has not been measured.
  void add_rows(const SequenceSpan& sequence, std::vector<std::int64_t>& rows) const;

  /// Where a step leaves what it knows of the canvas of `request` that begins at `first`:
  /// fp32 [canvas_length, hidden].
  /// @throws Error{kInternal} if there are more sequences than max_sequences.
  MatrixView begin(RequestId request, Position first);

  /// fp32 [all canvases and a row of zeros, hidden]
  ConstMatrixView table() const;

 private:
  struct Canvas {
    std::int64_t first_row = 0;  // of the table
    Position first = 0;
  };

  std::int32_t canvas_length_;
  std::int64_t hidden_size_;
  std::int64_t zero_row_;
  kernels::Buffer memory_;
  std::vector<std::int64_t> unused_;  // first rows
  std::unordered_map<RequestId, Canvas> canvases_;
};

}  // namespace tessera

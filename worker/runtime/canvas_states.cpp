#include "worker/runtime/canvas_states.h"

#include "common/base/error.h"

namespace tessera {

CanvasStates::CanvasStates(std::int32_t max_sequences,
                           std::int32_t canvas_length,
                           std::int64_t hidden_size,
                           kernels::Backend& backend)
    : canvas_length_(canvas_length),
      hidden_size_(hidden_size),
      zero_row_(std::int64_t{max_sequences} * canvas_length),
      memory_(backend.allocate((zero_row_ + 1) * hidden_size * size_of(DType::kFloat32))) {
  for (std::int64_t row = zero_row_; row > 0; row -= canvas_length) {
    unused_.push_back(row - canvas_length);
  }
  canvases_.reserve(unused_.size());
}

void CanvasStates::release(std::span<const RequestId> requests) {
  for (const RequestId request : requests) {
    const auto found = canvases_.find(request);
    if (found == canvases_.end()) continue;
    unused_.push_back(found->second.first_row);
    canvases_.erase(found);
  }
}

void CanvasStates::add_rows(const SequenceSpan& sequence, std::vector<std::int64_t>& rows) const {
  const Span& span = sequence.span;
  if (!span.self_conditioning) {
    rows.insert(rows.end(), static_cast<std::size_t>(span.num_rows()), zero_row_);
    return;
  }
  const auto found = canvases_.find(sequence.request);
  TESSERA_CHECK(found != canvases_.end() && found->second.first == span.first, "request ",
                sequence.request, " has no self-conditioning for a canvas at ", span.first);
  for (std::int64_t i = 0; i < span.num_rows(); ++i) rows.push_back(found->second.first_row + i);
}

MatrixView CanvasStates::begin(RequestId request, Position first) {
  const auto found = canvases_.find(request);
  Canvas canvas;
  if (found != canvases_.end()) {
    found->second.first = first;
    canvas = found->second;
  } else {
    TESSERA_CHECK(!unused_.empty(), "request ", request, " has one canvas more than the ",
                  zero_row_ / canvas_length_, " sequences this rank is configured for");
    canvas = {unused_.back(), first};
    unused_.pop_back();
    canvases_.emplace(request, canvas);
  }
  auto* begin = memory_.as<float>() + canvas.first_row * hidden_size_;
  return {begin, DType::kFloat32, canvas_length_, hidden_size_, hidden_size_};
}

ConstMatrixView CanvasStates::table() const {
  return {memory_.data(), DType::kFloat32, zero_row_ + 1, hidden_size_, hidden_size_};
}

}  // namespace tessera

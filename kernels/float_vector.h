#pragma once

#include <span>

#include "kernels/ops.h"

namespace tessera::kernels {

/// Weights that are one row, fp32, in the memory of a back end: norms, biases.
class FloatVector {
 public:
  FloatVector() = default;
  FloatVector(Backend& backend, std::span<const float> values)
      : memory_(backend.allocate(static_cast<std::int64_t>(values.size_bytes()))) {
    backend.upload(values.data(), memory_.data(), memory_.num_bytes());
  }

  operator std::span<const float>() const { return memory_.values<const float>(); }

 private:
  Buffer memory_;
};

}  // namespace tessera::kernels

#pragma once

#include <cstddef>
#include <cstdint>

#include "common/tensor/dtype.h"

namespace tessera {

/// Converts `count` consecutive elements: equal types bit for bit, others through fp32, rounded to
/// nearest even.
/// @param source  No alignment needed: tensors of a file may start anywhere.
/// @param from    kFloat32, kFloat16 or kBFloat16   @param to  kFloat32 or kBFloat16
void copy_elements(const std::byte* source, DType from, std::int64_t count, void* out, DType to);

}  // namespace tessera

#pragma once

#include "common/tensor/float_formats.h"

namespace tessera::kernels {

// Back ends and weights convert with the same code: common/tensor/float_formats.h.
using tessera::bfloat16_of_float;
using tessera::float_of_bfloat16;
using tessera::float_of_float16;
using tessera::load_element;

}  // namespace tessera::kernels

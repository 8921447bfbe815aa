#pragma once

#include <cstdint>

namespace tessera {

enum class Activation : std::uint8_t {
  kSilu,      ///< x / (1 + exp(-x))
  kGeluTanh,  ///< x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))
};

}  // namespace tessera

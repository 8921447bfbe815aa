#pragma once

#include <bit>
#include <cstdint>

#include "common/base/host_device.h"

namespace tessera::kernels {

/// a b, rounded: a GPU's compiler does not fuse it with an addition.
TESSERA_HOST_DEVICE inline double rounded_product(double a, double b) {
#ifdef __CUDA_ARCH__
  return __dmul_rn(a, b);
#else
  return a * b;
#endif
}

/// exp(x) for x <= 0, to some 2e-16 of it; below exp(-700) zero. The same bits on every processor
/// and GPU, where the libraries' own differ in the last place. Not a number for what is not one.
TESSERA_HOST_DEVICE inline double exponential(double x) {
  constexpr double kInverseLn2 = 1.4426950408889634;
  constexpr double kLn2High = 6.93147180369123816490e-01;  // 32 bits: its product with k is exact
  constexpr double kLn2Low = 1.90821492927058770002e-10;
  constexpr double kRound = 0x1.8p52;  // adding it rounds to an integer
  constexpr double kLeast = -700.0;
  if (x < kLeast) return 0.0;
  const double k = (rounded_product(x, kInverseLn2) + kRound) - kRound;
  const double r = (x - rounded_product(k, kLn2High)) - rounded_product(k, kLn2Low);
  double sum = 1.0 / 6227020800.0;  // Taylor: |r| <= ln 2 / 2, r^14 / 14! < 5e-18
  const double inverse_factorials[] = {1.0 / 479001600.0,
                                       1.0 / 39916800.0,
                                       1.0 / 3628800.0,
                                       1.0 / 362880.0,
                                       1.0 / 40320.0,
                                       1.0 / 5040.0,
                                       1.0 / 720.0,
                                       1.0 / 120.0,
                                       1.0 / 24.0,
                                       1.0 / 6.0,
                                       0.5,
                                       1.0,
                                       1.0};
  for (const double term : inverse_factorials) sum = rounded_product(sum, r) + term;
  if (!(k <= 0.0)) return sum;  // not a number
  const auto exponent = static_cast<std::uint64_t>(static_cast<std::int64_t>(k) + 1023);
  return rounded_product(sum, std::bit_cast<double>(exponent << 52));
}

}  // namespace tessera::kernels

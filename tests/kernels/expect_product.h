#pragma once

#include <gtest/gtest.h>

#include <cmath>

#include "tests/kernels/matrix.h"

namespace tessera::kernels {

/// Fails unless got = a w^T up to the rounding of fp32 sums, and its padding is as it was.
inline void expect_product(const TypedMatrix& a, const TypedMatrix& w, const Matrix& got) {
  for (std::int64_t i = 0; i < a.rows(); ++i) {
    for (std::int64_t j = 0; j < w.rows(); ++j) {
      double want = 0.0;
      double size = 0.0;
      for (std::int64_t k = 0; k < a.cols(); ++k) {
        const double term = double{a.at(i, k)} * double{w.at(j, k)};
        want += term;
        size += std::abs(term);
      }
      // Every addition of the chain rounds a sum below `size` by 2^-24 of it, at random.
      ASSERT_NEAR(got.at(i, j), want, 1e-6 * size) << i << ", " << j;
    }
  }
  EXPECT_TRUE(got.padding_untouched());
}

}  // namespace tessera::kernels

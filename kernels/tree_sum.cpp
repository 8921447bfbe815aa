#include "kernels/tree_sum.h"

#include <cstring>

#include "common/base/error.h"

namespace tessera::kernels {
namespace {

// The loops are ivdep: `out` may be an input, but then element for element.

void sum_two(const float* const* in, float* out, std::size_t count) {
  const float *a = in[0], *b = in[1];
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) out[i] = a[i] + b[i];
}

void sum_four(const float* const* in, float* out, std::size_t count) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) out[i] = (a[i] + b[i]) + (c[i] + d[i]);
}

void sum_eight(const float* const* in, float* out, std::size_t count) {
  const float *a = in[0], *b = in[1], *c = in[2], *d = in[3];
  const float *e = in[4], *f = in[5], *g = in[6], *h = in[7];
#pragma GCC ivdep
  for (std::size_t i = 0; i < count; ++i) {
    out[i] = ((a[i] + b[i]) + (c[i] + d[i])) + ((e[i] + f[i]) + (g[i] + h[i]));
  }
}

}  // namespace

void tree_sum(std::span<const float* const> inputs, float* out, std::size_t count) {
  switch (inputs.size()) {
    case 1: std::memmove(out, inputs[0], count * sizeof(float)); return;
    case 2: sum_two(inputs.data(), out, count); return;
    case 4: sum_four(inputs.data(), out, count); return;
    case 8: sum_eight(inputs.data(), out, count); return;
    default: TESSERA_CHECK(false, "a tree sum of ", inputs.size(), " inputs");
  }
}

}  // namespace tessera::kernels

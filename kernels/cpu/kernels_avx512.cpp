// Compiled for AVX-512 (F, BW, VL, BF16): nothing in here may run before the instruction set has
// been selected, and nothing but the table has external linkage.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/vector_avx512.h"
// After the vectors.
#include "kernels/cpu/measure_kernel.h"
#include "kernels/cpu/row_kernels.h"

namespace tessera::kernels {
namespace {

constexpr int kColumns = kPanelWidth / 16;  // vectors of a row of a tile

// kRows x 64 sums, in registers.
template <int kRows>
struct Sums {
  __m512 x[kRows][kColumns];

  void clear() {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) x[r][j] = _mm512_setzero_ps();
    }
  }
  void load(const float* other) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        x[r][j] = _mm512_load_ps(other + (r * kColumns + j) * 16);
      }
    }
  }
  void add(const float* other) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        x[r][j] = _mm512_add_ps(_mm512_load_ps(other + (r * kColumns + j) * 16), x[r][j]);
      }
    }
  }
  void save(float* other) const {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        _mm512_store_ps(other + (r * kColumns + j) * 16, x[r][j]);
      }
    }
  }
  void store(const TileArgs& args) const {
    const std::uint64_t lanes =
        args.width == kPanelWidth ? ~std::uint64_t{0} : (std::uint64_t{1} << args.width) - 1;
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        _mm512_mask_storeu_ps(args.c + r * args.c_stride + 16 * j,
                              static_cast<__mmask16>(lanes >> (16 * j)), x[r][j]);
      }
    }
  }

  void add_scaled_to(float* const* sums, std::int64_t offset, const float* scales) const {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m512 scale = _mm512_set1_ps(scales[r]);
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) {
        float* sum = sums[r] + offset + 16 * j;
        _mm512_storeu_ps(sum, _mm512_fmadd_ps(scale, x[r][j], _mm512_loadu_ps(sum)));
      }
    }
  }

  // Adds the products of one pair of K. vdpbf16ps: x = (x + a[1] b[1]) + a[0] b[0] in the order the
  // processor defines, the same for every row and column.
  void add_products(const std::byte* a, std::int64_t a_stride, const std::byte* weights) {
    __m512bh b[kColumns];
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) {
      b[j] = reinterpret_cast<__m512bh>(_mm512_load_si512(weights + 64 * j));
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const auto pair = reinterpret_cast<__m512bh>(
          _mm512_set1_epi32(static_cast<int>(_mm_cvtsi128_si32(_mm_loadu_si32(a + r * a_stride)))));
#pragma GCC unroll 4
      for (int j = 0; j < kColumns; ++j) x[r][j] = _mm512_dpbf16_ps(x[r][j], pair, b[j]);
    }
  }
};

template <int kRows>
void product(const TileArgs& args) {
  Sums<kRows> sums;
  if (args.begins_leaf) {
    sums.clear();
  } else {
    sums.load(args.state->sums);
  }
  const std::byte* a = args.a;
  const std::byte* weights = args.weights;
  const std::byte* fetch = args.fetch;
  for (std::int64_t pair = 0; pair < args.num_pairs;) {
#pragma GCC unroll 4
    for (int line = 0; line < 4; ++line) _mm_prefetch(fetch + 64 * line, _MM_HINT_T1);
    fetch += 256;
    const std::int64_t end =
        pair + args.pairs_per_fetch < args.num_pairs ? pair + args.pairs_per_fetch : args.num_pairs;
    for (; pair < end; ++pair, a += 4, weights += 4 * kPanelWidth) {
      sums.add_products(a, args.a_stride_bytes, weights);
    }
  }
  if (!args.ends_leaf) return sums.save(args.state->sums);
  int level = 0;
  for (std::int32_t i = args.leaf; (i & 1) != 0; i >>= 1) sums.add(args.state->branches[level++]);
  if (args.ends_product) {
    sums.store(args);
  } else {
    sums.save(args.state->branches[level]);
  }
}

void product_tile(const TileArgs& args) {
  switch (args.rows) {
    case 1: return product<1>(args);
    case 2: return product<2>(args);
    case 3: return product<3>(args);
    case 4: return product<4>(args);
    case 5: return product<5>(args);
    default: return product<6>(args);
  }
}

template <int kRows>
void fetch_sums(float* const* sums, std::int64_t offset) {
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int j = 0; j < kColumns; ++j) _mm_prefetch(sums[r] + offset + 16 * j, _MM_HINT_T0);
  }
}

template <int kRows>
void add_product(const AddTileArgs& args) {
  const std::byte* a = args.a;
  const std::byte* weights = args.weights;
  const std::byte* fetch = args.fetch;
  for (std::int32_t leaf = 0; leaf < args.num_leaves; ++leaf) {
    fetch_sums<kRows>(args.sums, (leaf + 1) * kPanelWidth);
    Sums<kRows> sums;
    sums.clear();
    for (std::int64_t pair = 0; pair < args.num_pairs;) {
#pragma GCC unroll 4
      for (int line = 0; line < 4; ++line) _mm_prefetch(fetch + 64 * line, _MM_HINT_T1);
      fetch += 256;
      const std::int64_t end = pair + args.pairs_per_fetch < args.num_pairs
                                   ? pair + args.pairs_per_fetch
                                   : args.num_pairs;
      for (; pair < end; ++pair, a += 4, weights += 4 * kPanelWidth) {
        sums.add_products(a, args.a_stride_bytes, weights);
      }
    }
    sums.add_scaled_to(args.sums, leaf * kPanelWidth, args.scales);
  }
}

void add_product_tile(const AddTileArgs& args) {
  switch (args.rows) {
    case 1: return add_product<1>(args);
    case 2: return add_product<2>(args);
    case 3: return add_product<3>(args);
    case 4: return add_product<4>(args);
    case 5: return add_product<5>(args);
    default: return add_product<6>(args);
  }
}

}  // namespace

const CpuKernels kAvx512Kernels = {
    "cpu avx512_bf16",
    &product_tile,
    &add_product_tile,
    &measure_tile<Avx512>,
    &widen_row<Avx512>,
    &add_row<Avx512>,
    &rms_norm_row<Avx512>,
    &add_rms_norm_row<Avx512>,
    &rms_norm_once_row<Avx512, float>,
    &rms_norm_once_row<Avx512, std::uint16_t>,
    &scale_row<Avx512>,
    &softcap_row<Avx512>,
    &softmax_row<Avx512>,
    &silu_mul_row<Avx512>,
    &gelu_mul_row<Avx512>,
    &apply_recipe_row<Avx512>,
};

}  // namespace tessera::kernels

// Compiled for AVX2, FMA and F16C: nothing in here may run before the instruction set has been
// selected, and nothing but the table has external linkage.
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/vector_avx2.h"
// After the vectors.
#include "kernels/cpu/measure_kernel.h"
#include "kernels/cpu/row_kernels.h"

namespace tessera::kernels {
namespace {

// Along K at a time: 8 KB of a panel, which the groups of columns find in L1.
constexpr std::int64_t kStripPairs = 32;
constexpr std::int64_t kStripCols = 2 * kStripPairs;

// Vectors of a row whose sums are in registers: up to 12, and enough to hide the latency of FMA.
template <int kRows>
constexpr int kVectors = kRows == 1   ? 8
                         : kRows == 2 ? 4
                                      : 2;

// fp32 of a strip of the activations, so that the inner loop only broadcasts.
struct WideStrip {
  alignas(32) float x[kTileRows][kStripCols];

  // args: TileArgs or AddTileArgs
  template <typename Args>
  void load(const Args& args, std::int64_t first_pair, std::int64_t num_pairs) {
    for (std::int64_t r = 0; r < args.rows; ++r) {
      const auto* row =
          reinterpret_cast<const std::uint16_t*>(args.a + r * args.a_stride_bytes + first_pair * 4);
      widen_row<Avx2>(row, DType::kBFloat16, 2 * num_pairs, x[r]);
    }
  }
};

// kRows sums of a group of 8 kVectors columns, in registers.
template <int kRows>
struct Sums {
  __m256 x[kRows][kVectors<kRows>];

  void load(const float* sums) {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors<kRows>; ++j) {
        x[r][j] = _mm256_loadu_ps(sums + r * kPanelWidth + 8 * j);
      }
    }
  }
  void save(float* sums) const {
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 8
      for (int j = 0; j < kVectors<kRows>; ++j) {
        _mm256_storeu_ps(sums + r * kPanelWidth + 8 * j, x[r][j]);
      }
    }
  }

  // Adds the products of one column of K, whose weights are one half of every 32-bit element.
  template <bool kOdd>
  void add_products(const WideStrip& a, std::int64_t pair, const std::byte* weights) {
    const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    __m256 b[kVectors<kRows>];
#pragma GCC unroll 8
    for (int j = 0; j < kVectors<kRows>; ++j) {
      const auto bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + 32 * j));
      b[j] =
          _mm256_castsi256_ps(kOdd ? _mm256_and_si256(bits, upper) : _mm256_slli_epi32(bits, 16));
    }
#pragma GCC unroll 8
    for (int r = 0; r < kRows; ++r) {
      const __m256 value = _mm256_broadcast_ss(&a.x[r][2 * pair + (kOdd ? 1 : 0)]);
#pragma GCC unroll 8
      for (int j = 0; j < kVectors<kRows>; ++j) x[r][j] = _mm256_fmadd_ps(value, b[j], x[r][j]);
    }
  }
};

// Adds the products of a strip to the sums of a group of columns: ascending along K.
template <int kRows>
void add_strip(const WideStrip& a, const std::byte* weights, std::int64_t num_pairs, float* sums) {
  Sums<kRows> group;
  group.load(sums);
  for (std::int64_t pair = 0; pair < num_pairs; ++pair, weights += 4 * kPanelWidth) {
    group.template add_products<false>(a, pair, weights);
    group.template add_products<true>(a, pair, weights);
  }
  group.save(sums);
}

// Adds the products of pairs [begin, end) to the sums of a tile, and fetches meanwhile.
template <int kRows, typename Args>
void add_pairs(const Args& args, std::int64_t begin, std::int64_t end, float* sums) {
  constexpr std::int64_t kGroupWidth = 8 * kVectors<kRows>;
  std::int64_t num_fetches = (begin + args.pairs_per_fetch - 1) / args.pairs_per_fetch;
  WideStrip strip;
  for (std::int64_t done = begin; done < end; done += kStripPairs) {
    const std::int64_t num_pairs = end - done < kStripPairs ? end - done : kStripPairs;
    for (; num_fetches * args.pairs_per_fetch < done + num_pairs; ++num_fetches) {
      const std::byte* fetch = args.fetch + num_fetches * 256;
      for (int line = 0; line < 4; ++line) _mm_prefetch(fetch + 64 * line, _MM_HINT_T1);
    }
    strip.load(args, done, num_pairs);
    const std::byte* weights = args.weights + done * 4 * kPanelWidth;
    for (std::int64_t column = 0; column < kPanelWidth; column += kGroupWidth) {
      add_strip<kRows>(strip, weights + column * 4, num_pairs, sums + column);
    }
  }
}

template <int kRows>
void product(const TileArgs& args) {
  float* sums = args.state->sums;
  if (args.begins_leaf) std::memset(sums, 0, sizeof(TileState::Sums));
  add_pairs<kRows>(args, 0, args.num_pairs, sums);
  if (!args.ends_leaf) return;
  int level = 0;
  for (std::int32_t i = args.leaf; (i & 1) != 0; i >>= 1) {
    add_row<Avx2>(sums, args.state->branches[level++], kRows * kPanelWidth);
  }
  if (!args.ends_product) {
    std::memcpy(args.state->branches[level], sums, sizeof(TileState::Sums));
    return;
  }
  for (std::int64_t r = 0; r < kRows; ++r) {
    std::memcpy(args.c + r * args.c_stride, sums + r * kPanelWidth,
                static_cast<std::size_t>(args.width) * sizeof(float));
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
void add_product(const AddTileArgs& args) {
  alignas(32) float sums[kRows * kPanelWidth];
  for (std::int32_t leaf = 0; leaf < args.num_leaves; ++leaf) {
    std::memset(sums, 0, sizeof(sums));
    add_pairs<kRows>(args, leaf * args.num_pairs, (leaf + 1) * args.num_pairs, sums);
    for (int r = 0; r < kRows; ++r) {
      add_scaled_row<Avx2>(args.sums[r] + leaf * kPanelWidth, sums + r * kPanelWidth,
                           args.scales[r], kPanelWidth);
    }
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

const CpuKernels kAvx2Kernels = {
    "cpu avx2",
    &product_tile,
    &add_product_tile,
    &measure_tile<Avx2>,
    &widen_row<Avx2>,
    &add_row<Avx2>,
    &rms_norm_row<Avx2>,
    &add_rms_norm_row<Avx2>,
    &rms_norm_once_row<Avx2, float>,
    &rms_norm_once_row<Avx2, std::uint16_t>,
    &scale_row<Avx2>,
    &softcap_row<Avx2>,
    &softmax_row<Avx2>,
    &silu_mul_row<Avx2>,
    &gelu_mul_row<Avx2>,
    &apply_recipe_row<Avx2>,
};

}  // namespace tessera::kernels

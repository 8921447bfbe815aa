#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention/key_prefetch.h"
#include "kernels/cpu/attention/key_tiles.h"

namespace tessera::kernels {

// Register tiles of R queries by N vectors, for the file that is compiled for AVX-512, hence
// static. An element is the sum of its products in one order whatever R and N are.

static inline __m512bh pair_of(const std::uint16_t* pair) {
  std::int32_t bits;
  __builtin_memcpy(&bits, pair, 4);
  return (__m512bh)_mm512_set1_epi32(bits);
}

static inline __m512bh load_pairs(const std::uint16_t* pairs) {
  return (__m512bh)_mm512_load_si512(pairs);
}

// scores[r][16 n + j] = q_r . k_(16 n + j), pairs of dimensions in ascending order.
// keys: [head_dim / 2][kTileKeys] pairs, from the first group on.
template <int R, int N>
static void score_tile(const std::uint16_t* queries,
                       std::int32_t head_dim,
                       const std::uint16_t* keys,
                       float* scores,
                       KeyPrefetch& prefetch) {
  KeyPrefetch lines = prefetch;
  __m512 sums[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[r][n] = _mm512_setzero_ps();
  }
  for (std::int32_t d = 0; d < head_dim; d += 2, keys += 2 * kTileKeys) {
    prefetch_lines(lines);
    __m512bh k[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) k[n] = load_pairs(keys + 32 * n);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512bh q = pair_of(queries + r * head_dim + d);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sums[r][n] = _mm512_dpbf16_ps(sums[r][n], q, k[n]);
    }
  }
  prefetch = lines;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) _mm512_store_ps(scores + r * kTileKeys + 16 * n, sums[r][n]);
  }
}

// outputs[r][16 n + j] = outputs[r][16 n + j] rescale[r] + sum over pairs of keys, ascending.
// weights: [R][2 kTileKeys] bf16 of which the first half is used; values: [kTileKeys / 2][stride]
// pairs.
template <int R, int N>
static void add_value_tile(const KeyTile& tile,
                           const std::uint16_t* weights,
                           const float* rescale,
                           const std::uint16_t* values,
                           std::int64_t stride,
                           float* outputs,
                           KeyPrefetch& prefetch) {
  KeyPrefetch lines = prefetch;
  __m512 sums[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m512 factor = _mm512_set1_ps(rescale[r]);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      sums[r][n] = _mm512_mul_ps(_mm512_load_ps(outputs + r * stride + 16 * n), factor);
    }
  }
  const std::int32_t end = tile.end_group * kGroupKeys / 2;
  for (std::int32_t pair = tile.first_group * kGroupKeys / 2; pair < end; ++pair) {
    prefetch_lines(lines);
    __m512bh v[N];
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) v[n] = load_pairs(values + 2 * (pair * stride + 16 * n));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m512bh p = pair_of(weights + r * 2 * kTileKeys + 2 * pair);
#pragma GCC unroll 8
      for (int n = 0; n < N; ++n) sums[r][n] = _mm512_dpbf16_ps(sums[r][n], p, v[n]);
    }
  }
  prefetch = lines;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) _mm512_store_ps(outputs + r * stride + 16 * n, sums[r][n]);
  }
}

using ScoreTile = decltype(&score_tile<1, 1>);
using AddValueTile = decltype(&add_value_tile<1, 1>);

constexpr ScoreTile kScoreTiles[6][4] = {
    {&score_tile<1, 1>, &score_tile<1, 2>, &score_tile<1, 3>, &score_tile<1, 4>},
    {&score_tile<2, 1>, &score_tile<2, 2>, &score_tile<2, 3>, &score_tile<2, 4>},
    {&score_tile<3, 1>, &score_tile<3, 2>, &score_tile<3, 3>, &score_tile<3, 4>},
    {&score_tile<4, 1>, &score_tile<4, 2>, &score_tile<4, 3>, &score_tile<4, 4>},
    {&score_tile<5, 1>, &score_tile<5, 2>, &score_tile<5, 3>, &score_tile<5, 4>},
    {&score_tile<6, 1>, &score_tile<6, 2>, &score_tile<6, 3>, &score_tile<6, 4>}};
constexpr AddValueTile kAddValueTiles[6][4] = {
    {&add_value_tile<1, 1>, &add_value_tile<1, 2>, &add_value_tile<1, 3>, &add_value_tile<1, 4>},
    {&add_value_tile<2, 1>, &add_value_tile<2, 2>, &add_value_tile<2, 3>, &add_value_tile<2, 4>},
    {&add_value_tile<3, 1>, &add_value_tile<3, 2>, &add_value_tile<3, 3>, &add_value_tile<3, 4>},
    {&add_value_tile<4, 1>, &add_value_tile<4, 2>, &add_value_tile<4, 3>, &add_value_tile<4, 4>},
    {&add_value_tile<5, 1>, &add_value_tile<5, 2>, &add_value_tile<5, 3>, &add_value_tile<5, 4>},
    {&add_value_tile<6, 1>, &add_value_tile<6, 2>, &add_value_tile<6, 3>, &add_value_tile<6, 4>}};

}  // namespace tessera::kernels

#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention/attention_part.h"
#include "kernels/cpu/attention/avx512_tiles.h"
#include "kernels/cpu/attention/cpu_attention.h"

namespace tessera::kernels {
namespace {

constexpr float kLog2E = 1.44269504F;
constexpr int kVectors = kTileKeys / 16;  // of scores of one query

// 2^x, relative error below 6e-7, 2^0 = 1 exactly; 0 in lanes outside `mask`. Minimax over
// [-1/2, 1/2] with the constant term fixed.
inline __m512 exp2_of(__mmask16 mask, __m512 x) {
  const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m512 rest = _mm512_sub_ps(x, whole);
  __m512 sum = _mm512_set1_ps(0x1.23a608p-10F);
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(0x1.3cbea8p-7F));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(0x1.c74322p-5F));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(0x1.ebfa4ep-3F));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(0x1.62e39ep-1F));
  sum = _mm512_fmadd_ps(sum, rest, _mm512_set1_ps(1.0F));
  return _mm512_maskz_scalef_ps(mask, sum, whole);
}

// Lanes [0, count) of 16.
inline __mmask16 first_lanes(std::int32_t count) {
  return static_cast<__mmask16>(count >= 16 ? 0xFFFFU : (1U << count) - 1U);
}

// Four pairs of dimensions of 16 keys -> four vectors of one pair of each key. Loading a quarter
// vector of every fourth key leaves two rounds of shuffles of the four of a full transpose.
template <typename Load>
inline void transpose_keys(const std::uint16_t* const* k,
                           std::int32_t d,
                           const Load& load,
                           std::uint16_t* out,
                           std::int32_t pairs) {
  __m512 quarters[4];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    __m512 rows = _mm512_castps128_ps512(load(k[i] + d));
    rows = _mm512_insertf32x4(rows, load(k[i + 4] + d), 1);
    rows = _mm512_insertf32x4(rows, load(k[i + 8] + d), 2);
    quarters[i] = _mm512_insertf32x4(rows, load(k[i + 12] + d), 3);
  }
  const __m512d low01 = _mm512_castps_pd(_mm512_unpacklo_ps(quarters[0], quarters[1]));
  const __m512d high01 = _mm512_castps_pd(_mm512_unpackhi_ps(quarters[0], quarters[1]));
  const __m512d low23 = _mm512_castps_pd(_mm512_unpacklo_ps(quarters[2], quarters[3]));
  const __m512d high23 = _mm512_castps_pd(_mm512_unpackhi_ps(quarters[2], quarters[3]));
  const __m512d columns[4] = {_mm512_unpacklo_pd(low01, low23), _mm512_unpackhi_pd(low01, low23),
                              _mm512_unpacklo_pd(high01, high23),
                              _mm512_unpackhi_pd(high01, high23)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    if (i < pairs) _mm512_store_pd(out + 2 * kTileKeys * i, columns[i]);
  }
}

struct Avx512 {
  using Element = std::uint16_t;
  static constexpr std::int32_t kMaxQueries = 6;

  // Of the inner loops of score and add_values together.
  static std::int32_t num_iterations(const KeyTile& tile, std::int32_t head_dim) {
    const std::int32_t pairs = (tile.end_group - tile.first_group) * kGroupKeys / 2;
    return head_dim / 2 + pairs * ((head_dim + 63) / 64);
  }

  static void load_query(const std::uint16_t* q, std::int32_t head_dim, std::uint16_t* out) {
    __builtin_memcpy(out, q, static_cast<std::size_t>(head_dim) * 2);
  }

  static void pack_keys(const KeyTile& tile,
                        std::int32_t group,
                        std::int32_t head_dim,
                        std::uint16_t* out) {
    const std::uint16_t* const* k = tile.k.data() + group * kGroupKeys;
    out += 2 * kGroupKeys * group;
    std::int32_t d = 0;
    for (; d + 8 <= head_dim; d += 8) transpose_keys(k, d, load_four_pairs, out + d * kTileKeys, 4);
    if (d == head_dim) return;
    const std::int32_t pairs = (head_dim - d) / 2;
    const auto load = [&](const std::uint16_t* x) {
      return _mm_castsi128_ps(_mm_maskz_loadu_epi32(static_cast<__mmask8>(first_lanes(pairs)), x));
    };
    transpose_keys(k, d, load, out + d * kTileKeys, pairs);
  }

  static __m128 load_four_pairs(const std::uint16_t* x) {
    return _mm_loadu_ps(reinterpret_cast<const float*>(x));
  }

  static void pack_values(const KeyTile& tile,
                          std::int32_t group,
                          std::int32_t head_dim,
                          std::int64_t stride,
                          std::uint16_t* out) {
    const std::int32_t end = (group + 1) * kGroupKeys;
    for (std::int32_t key = group * kGroupKeys; key < end; key += 2) {
      const auto i = static_cast<std::size_t>(key);
      std::uint16_t* const row = out + key * stride;
      std::int32_t d = 0;
      for (; d + 32 <= head_dim; d += 32) {
        interleave(_mm512_loadu_si512(tile.v[i] + d), _mm512_loadu_si512(tile.v[i + 1] + d),
                   /*stores_both=*/true, row + 2 * d);
      }
      if (d == head_dim) continue;
      const auto mask = static_cast<__mmask32>((1U << (head_dim - d)) - 1U);
      interleave(_mm512_maskz_loadu_epi16(mask, tile.v[i] + d),
                 _mm512_maskz_loadu_epi16(mask, tile.v[i + 1] + d), stride - d > 16, row + 2 * d);
    }
  }

  // out = even0 odd0 even1 odd1 ..., of 16 or 32 dimensions.
  static void interleave(__m512i even, __m512i odd, bool stores_both, std::uint16_t* out) {
    alignas(64) static constexpr std::uint16_t kLow[32] = {
        0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
        8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
    const __m512i low = _mm512_load_si512(kLow);
    const __m512i high = _mm512_add_epi16(low, _mm512_set1_epi16(16));
    _mm512_store_si512(out, _mm512_permutex2var_epi16(even, low, odd));
    if (stores_both) _mm512_store_si512(out + 32, _mm512_permutex2var_epi16(even, high, odd));
  }

  static void score(std::int32_t count,
                    const KeyTile& tile,
                    const std::uint16_t* queries,
                    std::int32_t head_dim,
                    const std::uint16_t* keys,
                    float* scores,
                    KeyPrefetch& prefetch) {
    const std::int32_t first = tile.first_group * kGroupKeys;
    kScoreTiles[count - 1][tile.end_group - tile.first_group - 1](
        queries, head_dim, keys + 2 * first, scores + first, prefetch);
  }

  // Scores become weights in bf16, in the first half of each row. A tile of which a query sees
  // nothing leaves its top and, times 2^0, its total and outputs.
  static void advance(std::int32_t count,
                      const std::uint64_t* sees,
                      float scale,
                      float* scores,
                      float* tops,
                      float* totals,
                      float* rescale) {
    const __m512 factor = _mm512_set1_ps(scale * kLog2E);
    const __m512 nothing = _mm512_set1_ps(kNothing);
    alignas(64) float bases[16];
    for (std::int32_t r = 0; r < count; ++r) {
      __m512 top = nothing;
#pragma GCC unroll 4
      for (int n = 0; n < kVectors; ++n) {
        const auto mask = static_cast<__mmask16>(sees[r] >> (16 * n));
        const __m512 score = _mm512_load_ps(scores + r * kTileKeys + 16 * n);
        top = _mm512_max_ps(top, _mm512_mask_mul_ps(nothing, mask, score, factor));
      }
      bases[r] = _mm512_reduce_max_ps(top);
    }
    const __mmask16 queries = first_lanes(count);
    const __m512 old = _mm512_mask_loadu_ps(nothing, queries, tops);
    const __m512 now = _mm512_mask_max_ps(nothing, queries, old, _mm512_load_ps(bases));
    _mm512_mask_storeu_ps(tops, queries, now);
    _mm512_store_ps(bases, now);
    // Nothing seen before: the sums are zeros, and -inf - -inf is NaN.
    const __mmask16 before = _mm512_cmp_ps_mask(old, nothing, _CMP_NEQ_OQ);
    _mm512_store_ps(rescale, exp2_of(before, _mm512_sub_ps(old, now)));
    for (std::int32_t r = 0; r < count; ++r) {
      weigh(sees[r], factor, bases[r], rescale[r], scores + r * kTileKeys, totals + 16 * r);
    }
  }

  static void weigh(
      std::uint64_t sees, __m512 factor, float base, float rescale, float* scores, float* totals) {
    __m512 weights[kVectors];
#pragma GCC unroll 4
    for (int n = 0; n < kVectors; ++n) {
      const __m512 score = _mm512_load_ps(scores + 16 * n);
      weights[n] = exp2_of(static_cast<__mmask16>(sees >> (16 * n)),
                           _mm512_fmsub_ps(score, factor, _mm512_set1_ps(base)));
    }
    // The denominator sums what the numerator multiplies: the rounded weights.
    const __m512bh ones = (__m512bh)_mm512_set1_epi16(0x3F80);
    __m512 total = _mm512_mul_ps(_mm512_load_ps(totals), _mm512_set1_ps(rescale));
    auto* const out = reinterpret_cast<std::uint16_t*>(scores);
#pragma GCC unroll 2
    for (int n = 0; n < kVectors; n += 2) {
      const __m512bh rounded = _mm512_cvtne2ps_pbh(weights[n + 1], weights[n]);
      _mm512_store_si512(out + 16 * n, (__m512i)rounded);
      total = _mm512_dpbf16_ps(total, rounded, ones);
    }
    _mm512_store_ps(totals, total);
  }

  static void add_values(std::int32_t count,
                         const KeyTile& tile,
                         const float* scores,
                         const float* rescale,
                         const std::uint16_t* values,
                         std::int64_t stride,
                         float* outputs,
                         KeyPrefetch& prefetch) {
    const auto* weights = reinterpret_cast<const std::uint16_t*>(scores);
    for (std::int64_t d = 0; d < stride; d += 64) {
      const std::int64_t vectors = stride - d >= 64 ? 4 : (stride - d) / 16;
      kAddValueTiles[count - 1][vectors - 1](tile, weights, rescale, values + 2 * d, stride,
                                             outputs + d, prefetch);
    }
  }

  static void store_output(const float* outputs,
                           const float* totals,
                           std::int32_t head_dim,
                           std::uint16_t* out) {
    const float total = _mm512_reduce_add_ps(_mm512_load_ps(totals));
    const __m512 factor = _mm512_set1_ps(total == 0.0F ? 0.0F : 1.0F / total);
    for (std::int32_t d = 0; d < head_dim; d += 16) {
      // + 0: keys that are not seen may have turned a sum of -0 into +0.
      const __m512 values =
          _mm512_add_ps(_mm512_mul_ps(_mm512_load_ps(outputs + d), factor), _mm512_setzero_ps());
      _mm256_mask_storeu_epi16(out + d, first_lanes(head_dim - d),
                               (__m256i)_mm512_cvtneps_pbh(values));
    }
  }
};

}  // namespace

void block_attention_avx512(const AttentionArgs& args,
                            std::int32_t part,
                            std::int32_t num_parts,
                            std::span<std::byte> scratch) {
  AttentionPart<Avx512>(args, scratch).run(part, num_parts);
}

}  // namespace tessera::kernels

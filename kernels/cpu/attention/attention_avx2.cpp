#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention/attention_part.h"
#include "kernels/cpu/attention/avx2_lanes.h"
#include "kernels/cpu/attention/cpu_attention.h"

namespace tessera::kernels {
namespace {

constexpr float kLog2E = 1.44269504F;
constexpr int kVectors = kTileKeys / 8;  // of scores of one query

inline __m256i lanes_of(std::uint64_t bits) {
  const __m256i lane_bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  const __m256i chosen =
      _mm256_and_si256(_mm256_set1_epi32(static_cast<std::int32_t>(bits & 0xFFU)), lane_bits);
  return _mm256_cmpeq_epi32(chosen, lane_bits);
}

inline __m256i first_lanes(std::int32_t count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// 2^x, relative error below 6e-7, 2^0 = 1 exactly, 0 below 2^-126; 0 in lanes outside `mask`.
// Minimax over [-1/2, 1/2] with the constant term fixed.
inline __m256 exp2_of(__m256i mask, __m256 x) {
  const __m256 clamped = _mm256_max_ps(x, _mm256_set1_ps(-127.0F));
  const __m256 whole = _mm256_round_ps(clamped, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const __m256 rest = _mm256_sub_ps(clamped, whole);
  __m256 sum = _mm256_set1_ps(0x1.23a608p-10F);
  sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(0x1.3cbea8p-7F));
  sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(0x1.c74322p-5F));
  sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(0x1.ebfa4ep-3F));
  sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(0x1.62e39ep-1F));
  sum = _mm256_fmadd_ps(sum, rest, _mm256_set1_ps(1.0F));
  const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(whole), _mm256_set1_epi32(127));
  const __m256 power = _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23));
  return _mm256_and_ps(_mm256_mul_ps(sum, power), _mm256_castsi256_ps(mask));
}

inline float greatest_lane(__m256 x) {
  __m128 top = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
  top = _mm_max_ps(top, _mm_movehl_ps(top, top));
  return _mm_cvtss_f32(_mm_max_ss(top, _mm_movehdup_ps(top)));
}

// Eight bf16 widened.
inline __m256 widen(const std::uint16_t* x) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

inline float widen_one(std::uint16_t x) {
  const std::uint32_t bits = static_cast<std::uint32_t>(x) << 16;
  float value;
  __builtin_memcpy(&value, &bits, 4);
  return value;
}

// One group of keys: scores[r][j] = q_r . k_j, dimensions in ascending order.
// keys: [head_dim][kTileKeys], from the group on.
template <int R>
void score_tile(const float* queries,
                std::int32_t head_dim,
                const float* keys,
                float* scores,
                KeyPrefetch& prefetch) {
  __m256 sums[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) sums[r][0] = sums[r][1] = _mm256_setzero_ps();
  for (std::int32_t d = 0; d < head_dim; ++d, keys += kTileKeys) {
    prefetch_lines(prefetch);
    const __m256 low = _mm256_load_ps(keys);
    const __m256 high = _mm256_load_ps(keys + 8);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 q = _mm256_broadcast_ss(queries + r * head_dim + d);
      sums[r][0] = _mm256_fmadd_ps(q, low, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(q, high, sums[r][1]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    _mm256_store_ps(scores + r * kTileKeys, sums[r][0]);
    _mm256_store_ps(scores + r * kTileKeys + 8, sums[r][1]);
  }
}

// 16 dimensions: outputs[r][j] = outputs[r][j] rescale[r] + sum over keys, ascending.
// weights: [R][kTileKeys]; values: [kTileKeys][stride].
template <int R>
void add_value_tile(const KeyTile& tile,
                    const float* weights,
                    const float* rescale,
                    const float* values,
                    std::int64_t stride,
                    float* outputs,
                    KeyPrefetch& prefetch) {
  __m256 sums[R][2];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m256 factor = _mm256_broadcast_ss(rescale + r);
    sums[r][0] = _mm256_mul_ps(_mm256_load_ps(outputs + r * stride), factor);
    sums[r][1] = _mm256_mul_ps(_mm256_load_ps(outputs + r * stride + 8), factor);
  }
  const std::int32_t end = tile.end_group * kGroupKeys;
  for (std::int32_t key = tile.first_group * kGroupKeys; key < end; ++key) {
    prefetch_lines(prefetch);
    const __m256 low = _mm256_load_ps(values + key * stride);
    const __m256 high = _mm256_load_ps(values + key * stride + 8);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256 p = _mm256_broadcast_ss(weights + r * kTileKeys + key);
      sums[r][0] = _mm256_fmadd_ps(p, low, sums[r][0]);
      sums[r][1] = _mm256_fmadd_ps(p, high, sums[r][1]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    _mm256_store_ps(outputs + r * stride, sums[r][0]);
    _mm256_store_ps(outputs + r * stride + 8, sums[r][1]);
  }
}

constexpr decltype(&score_tile<1>) kScoreTiles[6] = {
    &score_tile<1>, &score_tile<2>, &score_tile<3>, &score_tile<4>, &score_tile<5>, &score_tile<6>};
constexpr decltype(&add_value_tile<1>) kAddValueTiles[6] = {&add_value_tile<1>, &add_value_tile<2>,
                                                            &add_value_tile<3>, &add_value_tile<4>,
                                                            &add_value_tile<5>, &add_value_tile<6>};

// Eight dimensions of eight keys -> eight vectors of one dimension of each key.
inline void transpose_keys(const std::uint16_t* const* k, std::int32_t d, float* out) {
  __m256 pairs[8];
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const __m256 even = widen(k[2 * i] + d);
    const __m256 odd = widen(k[2 * i + 1] + d);
    pairs[2 * i] = _mm256_unpacklo_ps(even, odd);
    pairs[2 * i + 1] = _mm256_unpackhi_ps(even, odd);
  }
  __m256 fours[8];  // [dims 0/4, 1/5, 2/6, 3/7 of keys 0-3, then of keys 4-7]
#pragma GCC unroll 2
  for (int i = 0; i < 2; ++i) {
    const __m256* const p = pairs + 4 * i;
    fours[4 * i] = _mm256_shuffle_ps(p[0], p[2], _MM_SHUFFLE(1, 0, 1, 0));
    fours[4 * i + 1] = _mm256_shuffle_ps(p[0], p[2], _MM_SHUFFLE(3, 2, 3, 2));
    fours[4 * i + 2] = _mm256_shuffle_ps(p[1], p[3], _MM_SHUFFLE(1, 0, 1, 0));
    fours[4 * i + 3] = _mm256_shuffle_ps(p[1], p[3], _MM_SHUFFLE(3, 2, 3, 2));
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    _mm256_store_ps(out + i * kTileKeys, _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x20));
    _mm256_store_ps(out + (i + 4) * kTileKeys,
                    _mm256_permute2f128_ps(fours[i], fours[i + 4], 0x31));
  }
}

struct Avx2 {
  using Element = float;
  static constexpr std::int32_t kMaxQueries = 6;

  // Of the inner loops of score and add_values together.
  static std::int32_t num_iterations(const KeyTile& tile, std::int32_t head_dim) {
    const std::int32_t keys = (tile.end_group - tile.first_group) * kGroupKeys;
    return keys / kGroupKeys * head_dim + keys * ((head_dim + 15) / 16);
  }

  static void load_query(const std::uint16_t* q, std::int32_t head_dim, float* out) {
    for (std::int32_t d = 0; d < head_dim; ++d) out[d] = widen_one(q[d]);
  }

  static void pack_keys(const KeyTile& tile,
                        std::int32_t group,
                        std::int32_t head_dim,
                        float* out) {
    const std::int32_t end = (group + 1) * kGroupKeys;
    for (std::int32_t key = group * kGroupKeys; key < end; key += 8) {
      const std::uint16_t* const* k = tile.k.data() + key;
      std::int32_t d = 0;
      for (; d + 8 <= head_dim; d += 8) transpose_keys(k, d, out + d * kTileKeys + key);
      for (; d < head_dim; ++d) {
        for (int i = 0; i < 8; ++i) out[d * kTileKeys + key + i] = widen_one(k[i][d]);
      }
    }
  }

  static void pack_values(const KeyTile& tile,
                          std::int32_t group,
                          std::int32_t head_dim,
                          std::int64_t stride,
                          float* out) {
    for (std::int32_t key = group * kGroupKeys; key < (group + 1) * kGroupKeys; ++key) {
      const std::uint16_t* const v = tile.v[static_cast<std::size_t>(key)];
      float* const row = out + key * stride;
      std::int32_t d = 0;
      for (; d + 8 <= head_dim; d += 8) _mm256_store_ps(row + d, widen(v + d));
      for (; d < head_dim; ++d) row[d] = widen_one(v[d]);
    }
  }

  static void score(std::int32_t count,
                    const KeyTile& tile,
                    const float* queries,
                    std::int32_t head_dim,
                    const float* keys,
                    float* scores,
                    KeyPrefetch& prefetch) {
    for (std::int32_t group = tile.first_group; group < tile.end_group; ++group) {
      kScoreTiles[count - 1](queries, head_dim, keys + group * kGroupKeys,
                             scores + group * kGroupKeys, prefetch);
    }
  }

  // Scores become weights. A tile of which a query sees nothing leaves its top and, times 2^0, its
  // total and outputs.
  static void advance(std::int32_t count,
                      const std::uint64_t* sees,
                      float scale,
                      float* scores,
                      float* tops,
                      float* totals,
                      float* rescale) {
    const __m256 factor = _mm256_set1_ps(scale * kLog2E);
    const __m256 nothing = _mm256_set1_ps(kNothing);
    alignas(32) float bases[8];
    for (std::int32_t r = 0; r < count; ++r) {
      __m256 top = nothing;
#pragma GCC unroll 8
      for (int n = 0; n < kVectors; ++n) {
        const __m256 score = _mm256_mul_ps(_mm256_load_ps(scores + r * kTileKeys + 8 * n), factor);
        const __m256 mask = _mm256_castsi256_ps(lanes_of(sees[r] >> (8 * n)));
        top = _mm256_max_ps(top, _mm256_blendv_ps(nothing, score, mask));
      }
      bases[r] = greatest_lane(top);
    }
    const __m256i queries = first_lanes(count);
    const __m256 old =
        _mm256_blendv_ps(nothing, _mm256_maskload_ps(tops, queries), _mm256_castsi256_ps(queries));
    const __m256 now = _mm256_max_ps(old, _mm256_load_ps(bases));
    _mm256_maskstore_ps(tops, queries, now);
    _mm256_store_ps(bases, now);
    // Nothing seen before: the sums are zeros, and -inf - -inf is NaN.
    const __m256 before = _mm256_cmp_ps(old, nothing, _CMP_NEQ_OQ);
    _mm256_store_ps(rescale, exp2_of(_mm256_castps_si256(before), _mm256_sub_ps(old, now)));
    for (std::int32_t r = 0; r < count; ++r) {
      weigh(sees[r], factor, bases[r], rescale[r], scores + r * kTileKeys, totals + 16 * r);
    }
  }

  static void weigh(
      std::uint64_t sees, __m256 factor, float base, float rescale, float* scores, float* totals) {
    __m256 total = _mm256_mul_ps(_mm256_load_ps(totals), _mm256_set1_ps(rescale));
#pragma GCC unroll 8
    for (int n = 0; n < kVectors; ++n) {
      const __m256 score = _mm256_load_ps(scores + 8 * n);
      const __m256 weight =
          exp2_of(lanes_of(sees >> (8 * n)), _mm256_fmsub_ps(score, factor, _mm256_set1_ps(base)));
      _mm256_store_ps(scores + 8 * n, weight);
      total = _mm256_add_ps(total, weight);
    }
    _mm256_store_ps(totals, total);
  }

  static void add_values(std::int32_t count,
                         const KeyTile& tile,
                         const float* weights,
                         const float* rescale,
                         const float* values,
                         std::int64_t stride,
                         float* outputs,
                         KeyPrefetch& prefetch) {
    for (std::int64_t d = 0; d < stride; d += 16) {
      kAddValueTiles[count - 1](tile, weights, rescale, values + d, stride, outputs + d, prefetch);
    }
  }

  static void store_output(const float* outputs,
                           const float* totals,
                           std::int32_t head_dim,
                           std::uint16_t* out) {
    const float total = sum_of_lanes(_mm256_load_ps(totals));
    const __m256 factor = _mm256_set1_ps(total == 0.0F ? 0.0F : 1.0F / total);
    for (std::int32_t d = 0; d < head_dim; d += 8) {
      // + 0: keys that are not seen may have turned a sum of -0 into +0.
      const __m256 values =
          _mm256_add_ps(_mm256_mul_ps(_mm256_load_ps(outputs + d), factor), _mm256_setzero_ps());
      const __m128i halves = round_to_bfloat16(values);
      const std::int32_t dims = head_dim - d < 8 ? head_dim - d : 8;
      __builtin_memcpy(out + d, &halves, static_cast<std::size_t>(dims) * 2);
    }
  }
};

}  // namespace

void block_attention_avx2(const AttentionArgs& args,
                          std::int32_t part,
                          std::int32_t num_parts,
                          std::span<std::byte> scratch) {
  AttentionPart<Avx2>(args, scratch).run(part, num_parts);
}

}  // namespace tessera::kernels

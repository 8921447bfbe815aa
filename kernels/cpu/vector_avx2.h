#pragma once

// Included only by sources that are compiled for AVX2, FMA and F16C.
#include <immintrin.h>

#include <cstdint>
#include <cstring>

namespace tessera::kernels {
namespace {

/// 8 fp32 values. `count` lanes of memory are touched, the others read as zero.
struct Avx2 {
  using Float = __m256;
  static constexpr std::int64_t kLanes = 8;

  static __m256i lanes(std::int64_t count) {
    const __m256i index = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), index);
  }
  static Float zero() { return _mm256_setzero_ps(); }
  static Float set(float x) { return _mm256_set1_ps(x); }
  static Float load(const float* p, std::int64_t count) {
    return count == kLanes ? _mm256_loadu_ps(p) : _mm256_maskload_ps(p, lanes(count));
  }
  static void store(float* p, std::int64_t count, Float x) {
    if (count == kLanes) {
      _mm256_storeu_ps(p, x);
    } else {
      _mm256_maskstore_ps(p, lanes(count), x);
    }
  }
  static __m128i load_halves(const std::uint16_t* p, std::int64_t count) {
    if (count == kLanes) return _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    __m128i bits = _mm_setzero_si128();
    std::memcpy(&bits, p, static_cast<std::size_t>(count) * 2);
    return bits;
  }
  static Float widen(__m128i bits) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  static Float load_bfloat16(const std::uint16_t* p, std::int64_t count) {
    return widen(load_halves(p, count));
  }
  static Float load_float16(const std::uint16_t* p, std::int64_t count) {
    return _mm256_cvtph_ps(load_halves(p, count));
  }
  // To nearest even, as convert.h; NaN becomes the quiet NaN.
  static __m128i to_bfloat16(Float x) {
    const __m256i bits = _mm256_castps_si256(x);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded = _mm256_srli_epi32(
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd), 16);
    const __m256i is_nan = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
    const __m256i words = _mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7FC0), is_nan);
    return _mm_packus_epi32(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  }
  static void store_bfloat16(std::uint16_t* p, std::int64_t count, Float x) {
    const __m128i bits = to_bfloat16(x);
    if (count == kLanes) return _mm_storeu_si128(reinterpret_cast<__m128i*>(p), bits);
    std::memcpy(p, &bits, static_cast<std::size_t>(count) * 2);
  }
  static Float round_bfloat16(Float x) { return widen(to_bfloat16(x)); }

  static Float add(Float a, Float b) { return _mm256_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm256_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm256_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm256_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm256_fmadd_ps(a, b, c); }
  static Float max(Float a, Float b) { return _mm256_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm256_min_ps(a, b); }
  static Float absolute(Float a) {
    return _mm256_and_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(0x7FFFFFFF)));
  }
  static Float round(Float a) {
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  /// x 2^n for integer n in [-126, 127].
  static Float scale(Float x, Float n) {
    const __m256i exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(x, _mm256_castsi256_ps(_mm256_slli_epi32(exponent, 23)));
  }

  /// a > b ? x : y; y where a or b is not a number.
  static Float select_greater(Float a, Float b, Float x, Float y) {
    return _mm256_blendv_ps(y, x, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
  }
  /// Bit i: a[i] >= b[i].
  static std::uint32_t not_less(Float a, Float b) {
    return static_cast<std::uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GE_OQ)));
  }

  using Words = __m256i;  ///< 8 words of 32 bits
  static Words words(std::uint32_t x) { return _mm256_set1_epi32(static_cast<int>(x)); }
  /// x, x + 1, ..., x + 7
  static Words count_from(std::uint32_t x) {
    return _mm256_add_epi32(words(x), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  static Words exclusive_or(Words a, Words b, Words c) {
    return _mm256_xor_si256(_mm256_xor_si256(a, b), c);
  }
  /// The halves of the 64-bit products a b, element by element; all elements of b are equal.
  static void multiply(Words a, Words b, Words& high, Words& low) {
    const Words even = _mm256_mul_epu32(a, b);
    const Words odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), b);
    high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  }
  static Words shift_right(Words a, int bits) { return _mm256_srli_epi32(a, bits); }
  static Words shift_left(Words a, int bits) { return _mm256_slli_epi32(a, bits); }
  static Words subtract(Words a, Words b) { return _mm256_sub_epi32(a, b); }
  static void store(std::uint32_t* p, Words x) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), x);
  }
  static Float from_int(Words x) { return _mm256_cvtepi32_ps(x); }
  /// Of the sequence c[0][0], c[1][0], c[2][0], c[3][0], c[0][1], ...: 8 in every vector.
  static void interleave(Words (&c)[4]) {
    const Words low01 = _mm256_unpacklo_epi32(c[0], c[1]);
    const Words low23 = _mm256_unpacklo_epi32(c[2], c[3]);
    const Words high01 = _mm256_unpackhi_epi32(c[0], c[1]);
    const Words high23 = _mm256_unpackhi_epi32(c[2], c[3]);
    // The lower halves of r[0], r[1], r[2], r[3], then the upper ones.
    const Words r[4] = {_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
                        _mm256_unpacklo_epi64(high01, high23),
                        _mm256_unpackhi_epi64(high01, high23)};
    c[0] = _mm256_permute2x128_si256(r[0], r[1], 0x20);
    c[1] = _mm256_permute2x128_si256(r[2], r[3], 0x20);
    c[2] = _mm256_permute2x128_si256(r[0], r[1], 0x31);
    c[3] = _mm256_permute2x128_si256(r[2], r[3], 0x31);
  }

  static float sum(Float x) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
  }
  static float largest(Float x) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
  }
};

}  // namespace
}  // namespace tessera::kernels

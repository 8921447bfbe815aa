#pragma once

// Included only by sources that are compiled for AVX-512, inside no namespace of others.
#include <immintrin.h>

#include <cstdint>

namespace tessera::kernels {
namespace {

/// 16 fp32 values. `count` lanes of memory are touched, the others read as zero.
struct Avx512 {
  using Float = __m512;
  static constexpr std::int64_t kLanes = 16;

  static __mmask16 lanes(std::int64_t count) {
    return static_cast<__mmask16>((1U << static_cast<unsigned>(count)) - 1U);
  }
  static Float zero() { return _mm512_setzero_ps(); }
  static Float set(float x) { return _mm512_set1_ps(x); }
  static Float load(const float* p, std::int64_t count) {
    return _mm512_maskz_loadu_ps(lanes(count), p);
  }
  static void store(float* p, std::int64_t count, Float x) {
    _mm512_mask_storeu_ps(p, lanes(count), x);
  }
  static Float load_bfloat16(const std::uint16_t* p, std::int64_t count) {
    const __m256i bits = _mm256_maskz_loadu_epi16(lanes(count), p);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }
  static Float load_float16(const std::uint16_t* p, std::int64_t count) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(lanes(count), p));
  }
  static void store_bfloat16(std::uint16_t* p, std::int64_t count, Float x) {
    _mm256_mask_storeu_epi16(p, lanes(count), reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
  static Float round_bfloat16(Float x) {
    const auto bits = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
  }

  static Float add(Float a, Float b) { return _mm512_add_ps(a, b); }
  static Float sub(Float a, Float b) { return _mm512_sub_ps(a, b); }
  static Float mul(Float a, Float b) { return _mm512_mul_ps(a, b); }
  static Float div(Float a, Float b) { return _mm512_div_ps(a, b); }
  static Float fma(Float a, Float b, Float c) { return _mm512_fmadd_ps(a, b, c); }
  static Float max(Float a, Float b) { return _mm512_max_ps(a, b); }
  static Float min(Float a, Float b) { return _mm512_min_ps(a, b); }
  static Float absolute(Float a) { return _mm512_abs_ps(a); }
  static Float round(Float a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  /// x 2^n for integer n in [-126, 127].
  static Float scale(Float x, Float n) { return _mm512_scalef_ps(x, n); }

  /// a > b ? x : y; y where a or b is not a number.
  static Float select_greater(Float a, Float b, Float x, Float y) {
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), y, x);
  }
  /// Bit i: a[i] >= b[i].
  static std::uint32_t not_less(Float a, Float b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }

  using Words = __m512i;  ///< 16 words of 32 bits
  static Words words(std::uint32_t x) { return _mm512_set1_epi32(static_cast<int>(x)); }
  /// x, x + 1, ..., x + 15
  static Words count_from(std::uint32_t x) {
    return _mm512_add_epi32(
        words(x), _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
  }
  static Words exclusive_or(Words a, Words b, Words c) {
    return _mm512_ternarylogic_epi32(a, b, c, 0x96);
  }
  /// The halves of the 64-bit products a b, element by element; all elements of b are equal.
  static void multiply(Words a, Words b, Words& high, Words& low) {
    const Words even = _mm512_mul_epu32(a, b);
    const Words odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), b);
    high = _mm512_mask_blend_epi32(0xAAAA, _mm512_srli_epi64(even, 32), odd);
    low = _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
  }
  static Words shift_right(Words a, int bits) {
    return _mm512_srli_epi32(a, static_cast<unsigned>(bits));
  }
  static Words shift_left(Words a, int bits) {
    return _mm512_slli_epi32(a, static_cast<unsigned>(bits));
  }
  static Words subtract(Words a, Words b) { return _mm512_sub_epi32(a, b); }
  static void store(std::uint32_t* p, Words x) { _mm512_storeu_si512(p, x); }
  static Float from_int(Words x) { return _mm512_cvtepi32_ps(x); }
  /// Of the sequence c[0][0], c[1][0], c[2][0], c[3][0], c[0][1], ...: 16 in every vector.
  static void interleave(Words (&c)[4]) {
    const Words low01 = _mm512_unpacklo_epi32(c[0], c[1]);
    const Words low23 = _mm512_unpacklo_epi32(c[2], c[3]);
    const Words high01 = _mm512_unpackhi_epi32(c[0], c[1]);
    const Words high23 = _mm512_unpackhi_epi32(c[2], c[3]);
    // Quarter q of r[k] belongs to quarter k of the result q.
    const Words r[4] = {_mm512_unpacklo_epi64(low01, low23), _mm512_unpackhi_epi64(low01, low23),
                        _mm512_unpacklo_epi64(high01, high23),
                        _mm512_unpackhi_epi64(high01, high23)};
    const Words first01 = _mm512_shuffle_i32x4(r[0], r[1], 0x44);
    const Words first23 = _mm512_shuffle_i32x4(r[2], r[3], 0x44);
    const Words last01 = _mm512_shuffle_i32x4(r[0], r[1], 0xEE);
    const Words last23 = _mm512_shuffle_i32x4(r[2], r[3], 0xEE);
    c[0] = _mm512_shuffle_i32x4(first01, first23, 0x88);
    c[1] = _mm512_shuffle_i32x4(first01, first23, 0xDD);
    c[2] = _mm512_shuffle_i32x4(last01, last23, 0x88);
    c[3] = _mm512_shuffle_i32x4(last01, last23, 0xDD);
  }

  static float sum(Float x) { return _mm512_reduce_add_ps(x); }
  static float largest(Float x) { return _mm512_reduce_max_ps(x); }
};

}  // namespace
}  // namespace tessera::kernels

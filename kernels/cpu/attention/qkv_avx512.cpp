#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention/cpu_attention.h"
#include "kernels/cpu/attention/qkv_rows.h"

namespace tessera::kernels {
namespace {

struct Vector {
  static constexpr std::int32_t kLanes = 16;
  __m512 lanes;

  static Vector load(const float* x) { return {_mm512_loadu_ps(x)}; }
  static Vector set1(float x) { return {_mm512_set1_ps(x)}; }
  void store(float* out) const { _mm512_storeu_ps(out, lanes); }
  float sum() const { return _mm512_reduce_add_ps(lanes); }

  // The conversion instruction would flush subnormal numbers.
  void store_bfloat16(std::uint16_t* out) const {
    const __m512i bits = _mm512_castps_si512(lanes);
    const __m512i upper = _mm512_srli_epi32(bits, 16);
    const __m512i lowest = _mm512_and_si512(upper, _mm512_set1_epi32(1));
    const __m512i rounded = _mm512_srli_epi32(
        _mm512_add_epi32(bits, _mm512_add_epi32(lowest, _mm512_set1_epi32(0x7FFF))), 16);
    const __mmask16 is_nan = _mm512_cmp_ps_mask(lanes, lanes, _CMP_UNORD_Q);
    const __m512i halves = _mm512_mask_or_epi32(rounded, is_nan, upper, _mm512_set1_epi32(0x40));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_cvtepi32_epi16(halves));
  }

  friend Vector operator+(Vector a, Vector b) { return {_mm512_add_ps(a.lanes, b.lanes)}; }
  friend Vector operator-(Vector a, Vector b) { return {_mm512_sub_ps(a.lanes, b.lanes)}; }
  friend Vector operator*(Vector a, Vector b) { return {_mm512_mul_ps(a.lanes, b.lanes)}; }
  friend Vector fma(Vector a, Vector b, Vector c) {
    return {_mm512_fmadd_ps(a.lanes, b.lanes, c.lanes)};
  }
};

}  // namespace

void qk_norm_rope_store_avx512(const QkvArgs& args, std::int32_t part, std::int32_t num_parts) {
  QkvRows<Vector>(args).run(part, num_parts);
}

}  // namespace tessera::kernels

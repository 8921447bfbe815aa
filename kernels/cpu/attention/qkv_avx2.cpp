#include <immintrin.h>

#include <cstdint>

#include "kernels/cpu/attention/avx2_lanes.h"
#include "kernels/cpu/attention/cpu_attention.h"
#include "kernels/cpu/attention/qkv_rows.h"

namespace tessera::kernels {
namespace {

struct Vector {
  static constexpr std::int32_t kLanes = 8;
  __m256 lanes;

  static Vector load(const float* x) { return {_mm256_loadu_ps(x)}; }
  static Vector set1(float x) { return {_mm256_set1_ps(x)}; }
  void store(float* out) const { _mm256_storeu_ps(out, lanes); }
  float sum() const { return sum_of_lanes(lanes); }
  void store_bfloat16(std::uint16_t* out) const {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), round_to_bfloat16(lanes));
  }

  friend Vector operator+(Vector a, Vector b) { return {_mm256_add_ps(a.lanes, b.lanes)}; }
  friend Vector operator-(Vector a, Vector b) { return {_mm256_sub_ps(a.lanes, b.lanes)}; }
  friend Vector operator*(Vector a, Vector b) { return {_mm256_mul_ps(a.lanes, b.lanes)}; }
  friend Vector fma(Vector a, Vector b, Vector c) {
    return {_mm256_fmadd_ps(a.lanes, b.lanes, c.lanes)};
  }
};

}  // namespace

void qk_norm_rope_store_avx2(const QkvArgs& args, std::int32_t part, std::int32_t num_parts) {
  QkvRows<Vector>(args).run(part, num_parts);
}

}  // namespace tessera::kernels

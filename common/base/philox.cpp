#include "common/base/philox.h"

#include <emmintrin.h>

namespace tessera {
namespace {

// Two words, each in the lower half of a lane; what the upper halves hold does not matter.
using Words = __m128i;

Words both(std::uint32_t word) {
  return _mm_set1_epi64x(word);
}

// The first word of philox4x32_10 with c0 = 0, for two positions.
Words first_words(std::uint64_t seed, Words positions, std::int32_t step, RandomStream stream) {
  const Words m0 = both(kPhiloxM0);
  const Words m1 = both(kPhiloxM1);
  Words c0 = both(0);
  Words c1 = positions;
  Words c2 = both(static_cast<std::uint32_t>(step));
  Words c3 = both(static_cast<std::uint32_t>(stream));
  auto k0 = static_cast<std::uint32_t>(seed);
  auto k1 = static_cast<std::uint32_t>(seed >> 32);
#pragma GCC unroll 10
  for (int round = 0; round < 10; ++round) {
    const __m128i p0 = _mm_mul_epu32(c0, m0);
    const __m128i p1 = _mm_mul_epu32(c2, m1);
    c0 = _mm_xor_si128(_mm_xor_si128(_mm_srli_epi64(p1, 32), c1), both(k0));
    c2 = _mm_xor_si128(_mm_xor_si128(_mm_srli_epi64(p0, 32), c3), both(k1));
    c1 = p1;
    c3 = p0;
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  return c0;
}

}  // namespace

void uniform_tokens(std::uint64_t seed,
                    Position first,
                    std::int32_t step,
                    RandomStream stream,
                    std::int32_t num_ids,
                    std::span<TokenId> tokens) {
  const Words ids = both(static_cast<std::uint32_t>(num_ids));
  Words positions = _mm_set_epi64x(first + std::int64_t{1}, first);
  for (std::size_t begin = 0; begin < tokens.size(); begin += 2) {
    const Words words = first_words(seed, positions, step, stream);
    alignas(16) std::uint64_t scaled[2];
    _mm_store_si128(reinterpret_cast<__m128i*>(scaled),
                    _mm_srli_epi64(_mm_mul_epu32(words, ids), 32));
    tokens[begin] = static_cast<TokenId>(scaled[0]);
    if (begin + 1 < tokens.size()) tokens[begin + 1] = static_cast<TokenId>(scaled[1]);
    positions = _mm_add_epi64(positions, both(2));
  }
}

}  // namespace tessera

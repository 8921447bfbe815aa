#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include "common/base/host_device.h"
#include "common/base/types.h"

namespace tessera {

/// What a random word is used for. Streams keep the uses apart: equal (seed, position, step) of
/// different streams are independent.
enum class RandomStream : std::uint32_t {
  kToken = 0,    ///< Gumbel noise of a token choice: word `id & 3` of counter word c0 = id >> 2.
  kRenoise = 1,  ///< Canvas position drawn again after a denoising step.
  kCanvas = 2,   ///< First content of a canvas position (step 0).
};

/// Factors of the words and steps of the keys of Philox4x32.
constexpr std::uint64_t kPhiloxM0 = 0xD2511F53;
constexpr std::uint64_t kPhiloxM1 = 0xCD9E8D57;
constexpr std::uint32_t kPhiloxW0 = 0x9E3779B9;
constexpr std::uint32_t kPhiloxW1 = 0xBB67AE85;

/// Philox4x32-10: 128 random bits as a pure function of (seed, position, step, stream, c0).
/// Counter = (c0, position, step, stream), key = (seed mod 2^32, seed >> 32).
///
/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
TESSERA_HOST_DEVICE inline std::array<std::uint32_t, 4> philox4x32_10(std::uint64_t seed,
                                                                      std::uint32_t c0,
                                                                      Position position,
                                                                      std::int32_t step,
                                                                      RandomStream stream) {
  std::array<std::uint32_t, 4> c{c0, static_cast<std::uint32_t>(position),
                                 static_cast<std::uint32_t>(step),
                                 static_cast<std::uint32_t>(stream)};
  auto k0 = static_cast<std::uint32_t>(seed);
  auto k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = kPhiloxM0 * c[0];
    const std::uint64_t p1 = kPhiloxM1 * c[2];
    c = {static_cast<std::uint32_t>(p1 >> 32) ^ c[1] ^ k0, static_cast<std::uint32_t>(p1),
         static_cast<std::uint32_t>(p0 >> 32) ^ c[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += kPhiloxW0;
    k1 += kPhiloxW1;
  }
  return c;
}

/// Uniform in (0, 1), exact in fp32: ((word >> 9) + 0.5) 2^-23.
TESSERA_HOST_DEVICE inline double uniform_of_word(std::uint32_t word) {
  return (static_cast<double>(word >> 9) + 0.5) * 0x1p-23;
}

/// Gumbel(0, 1) noise of one token id: -log(-log(u)).
TESSERA_HOST_DEVICE inline double gumbel_noise(std::uint64_t seed,
                                               Position position,
                                               std::int32_t step,
                                               TokenId id) {
  const auto token = static_cast<std::uint32_t>(id);
  const auto words = philox4x32_10(seed, token >> 2, position, step, RandomStream::kToken);
  return -std::log(-std::log(uniform_of_word(words[token & 3])));
}

/// Uniform token ids in [0, num_ids) for the positions from `first` on: the first word of each
/// position (c0 = 0) times num_ids / 2^32.
void uniform_tokens(std::uint64_t seed,
                    Position first,
                    std::int32_t step,
                    RandomStream stream,
                    std::int32_t num_ids,
                    std::span<TokenId> tokens);

/// The finaliser of splitmix64, a bijection on 64-bit words. Seed of choice i of a request with
/// n > 1 is splitmix64(seed + i) for i > 0 and the seed itself for choice 0.
inline std::uint64_t splitmix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace tessera

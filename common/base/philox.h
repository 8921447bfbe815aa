#pragma once

#include <algorithm>
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

/// Counters of several independent Philox4x32-10 calls under one key, side by side: word w of call
/// l is [w][l]. Lanes overlap in time where one call would wait for its own products.
template <std::size_t kLanes>
using PhiloxWords = std::array<std::array<std::uint32_t, kLanes>, 4>;

/// Turns counters into random words; key = (seed mod 2^32, seed >> 32).
template <std::size_t kLanes>
TESSERA_HOST_DEVICE inline void philox_rounds(std::uint64_t seed, PhiloxWords<kLanes>& c) {
  auto k0 = static_cast<std::uint32_t>(seed);
  auto k1 = static_cast<std::uint32_t>(seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0][lane];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2][lane];
      c[0][lane] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1][lane] ^ k0;
      c[2][lane] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3][lane] ^ k1;
      c[1][lane] = static_cast<std::uint32_t>(p1);
      c[3][lane] = static_cast<std::uint32_t>(p0);
    }
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
}

/// Philox4x32-10: 128 random bits as a pure function of (seed, position, step, stream, c0).
/// Counter = (c0, position, step, stream), key = (seed mod 2^32, seed >> 32).
///
/// Source: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
TESSERA_HOST_DEVICE inline std::array<std::uint32_t, 4> philox4x32_10(std::uint64_t seed,
                                                                      std::uint32_t c0,
                                                                      Position position,
                                                                      std::int32_t step,
                                                                      RandomStream stream) {
  PhiloxWords<1> c{{{c0},
                    {static_cast<std::uint32_t>(position)},
                    {static_cast<std::uint32_t>(step)},
                    {static_cast<std::uint32_t>(stream)}}};
  philox_rounds(seed, c);
  return {c[0][0], c[1][0], c[2][0], c[3][0]};
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

/// Uniform token ids in [0, num_ids) for the positions from `first` on.
inline void uniform_tokens(std::uint64_t seed,
                           Position first,
                           std::int32_t step,
                           RandomStream stream,
                           std::int32_t num_ids,
                           std::span<TokenId> tokens) {
  constexpr std::size_t kLanes = 8;
  for (std::size_t begin = 0; begin < tokens.size(); begin += kLanes) {
    PhiloxWords<kLanes> c{};
    for (std::size_t lane = 0; lane < kLanes; ++lane) {
      c[1][lane] = static_cast<std::uint32_t>(first) + static_cast<std::uint32_t>(begin + lane);
      c[2][lane] = static_cast<std::uint32_t>(step);
      c[3][lane] = static_cast<std::uint32_t>(stream);
    }
    philox_rounds(seed, c);
    const std::size_t count = std::min(kLanes, tokens.size() - begin);
    for (std::size_t lane = 0; lane < count; ++lane) {
      const std::uint64_t scaled = c[0][lane] * static_cast<std::uint64_t>(num_ids);
      tokens[begin + lane] = static_cast<TokenId>(scaled >> 32);
    }
  }
}

/// The finaliser of splitmix64, a bijection on 64-bit words. Seed of choice i of a request with
/// n > 1 is splitmix64(seed + i) for i > 0 and the seed itself for choice 0.
inline std::uint64_t splitmix64(std::uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9U;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBU;
  return x ^ (x >> 31);
}

}  // namespace tessera

#pragma once

// measure_tile for a vector type V. Included like row_kernels.h.

#include <bit>
#include <cmath>
#include <cstdint>

#include "common/base/philox.h"
#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/row_kernels.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kTileIds = 64;

/// 64 logits of a row; what is not a number is -inf.
template <typename V>
struct LogitTile {
  static constexpr std::size_t kVectors = kTileIds / V::kLanes;
  typename V::Float x[kVectors];

  explicit LogitTile(const float* logits) {
    const auto excluded = V::set(-INFINITY);
    for (std::size_t i = 0; i < kVectors; ++i) {
      const auto value = V::load(logits + static_cast<std::int64_t>(i) * V::kLanes, V::kLanes);
      x[i] = V::select_greater(value, excluded, value, excluded);
    }
  }

  float largest() const {
    auto high = x[0];
    for (std::size_t i = 1; i < kVectors; ++i) high = V::max(high, x[i]);
    return V::largest(high);
  }

  // The last of the logits that are `value`.
  std::int32_t last_of(float value) const {
    std::uint64_t bits = 0;
    for (std::size_t i = 0; i < kVectors; ++i) {
      bits |= std::uint64_t{V::not_less(x[i], V::set(value))} << (i * V::kLanes);
    }
    return 63 - std::countl_zero(bits);
  }
};

// Makes `high` the maximum that the sums are relative to.
inline void raise_maximum(double high, MeasurePartial& partial) {
  if (partial.greedy_token >= 0) {
    const double distance = partial.max_logit - high;
    const double tempered = distance / partial.temperature;
    const double scale = std::exp(tempered);
    partial.plain_sum *= std::exp(distance);
    partial.tempered_weighted_sum =
        (partial.tempered_weighted_sum + partial.tempered_sum * tempered) * scale;
    partial.tempered_sum *= scale;
  }
  partial.max_logit = high;
}

// The sums of a tile in fp32, at a relative error of some 1e-7, are added up in fp64.
template <typename V>
void add_sums(const LogitTile<V>& tile, bool weighted, MeasurePartial& partial) {
  const auto high = V::set(static_cast<float>(partial.max_logit));
  const auto temperature = V::set(partial.temperature);
  const bool tempered = partial.temperature != 1.0F;
  auto plain_sum = V::zero();
  auto tempered_sum = V::zero();
  auto weighted_sum = V::zero();
  for (const auto& x : tile.x) {
    const auto distance = V::sub(x, high);
    const auto plain = exponential<V>(distance);
    plain_sum = V::add(plain_sum, plain);
    if (!tempered && !weighted) continue;
    const auto scaled = V::max(V::div(distance, temperature), V::set(-100.0F));
    const auto weight = tempered ? exponential<V>(scaled) : plain;
    tempered_sum = V::add(tempered_sum, weight);
    weighted_sum = V::fma(scaled, weight, weighted_sum);
  }
  const double plain = V::sum(plain_sum);
  partial.plain_sum += plain;
  partial.tempered_sum += tempered || weighted ? double{V::sum(tempered_sum)} : plain;
  if (weighted) partial.tempered_weighted_sum += double{V::sum(weighted_sum)};
}

/// Random words of ids [first_id, first_id + 64): philox4x32_10 (common/base/philox.h) on 16
/// counters at a time.
inline void token_words(const Measure& measure, TokenId first_id, std::uint32_t* words) {
  constexpr std::size_t kCounters = kTileIds / 4;
  std::uint32_t c[4][kCounters];
  for (std::size_t i = 0; i < kCounters; ++i) {
    c[0][i] = (static_cast<std::uint32_t>(first_id) >> 2) + static_cast<std::uint32_t>(i);
    c[1][i] = static_cast<std::uint32_t>(measure.position);
    c[2][i] = static_cast<std::uint32_t>(measure.denoising_step);
    c[3][i] = static_cast<std::uint32_t>(RandomStream::kToken);
  }
  auto k0 = static_cast<std::uint32_t>(measure.seed);
  auto k1 = static_cast<std::uint32_t>(measure.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    for (std::size_t i = 0; i < kCounters; ++i) {
      const std::uint64_t p0 = std::uint64_t{0xD2511F53} * c[0][i];
      const std::uint64_t p1 = std::uint64_t{0xCD9E8D57} * c[2][i];
      c[0][i] = static_cast<std::uint32_t>(p1 >> 32) ^ c[1][i] ^ k0;
      c[2][i] = static_cast<std::uint32_t>(p0 >> 32) ^ c[3][i] ^ k1;
      c[1][i] = static_cast<std::uint32_t>(p1);
      c[3][i] = static_cast<std::uint32_t>(p0);
    }
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  for (std::size_t i = 0; i < kCounters; ++i) {
    for (std::size_t word = 0; word < 4; ++word) words[4 * i + word] = c[word][i];
  }
}

// Upper bounds, in fp32, of what an id needs to reach a score `best`: -log u >= 1 - u, so that
// t - log(-log u) >= best takes 1 - u <= exp(t - best). The slack covers the rounding of t and of
// `best`; beyond 1e30 it keeps every id.
template <typename V>
class ReachBound {
 public:
  ReachBound(float temperature, double best)
      : temperature_(V::set(temperature)), best_(V::set(clamp(best))) {}

  typename V::Float operator()(typename V::Float logit) const {
    const auto limit = V::set(kLimit);
    const auto t = V::max(V::min(V::div(logit, temperature_), limit), V::sub(V::zero(), limit));
    const auto size = V::add(V::absolute(t), V::absolute(best_));
    return V::add(V::fma(size, V::set(0x1p-22F), V::sub(t, best_)), V::set(2e-3F));
  }

 private:
  static constexpr float kLimit = 1e30F;
  static float clamp(double x) {
    return x > double{kLimit} ? kLimit : x < -double{kLimit} ? -kLimit : static_cast<float>(x);
  }
  typename V::Float temperature_;
  typename V::Float best_;
};

template <typename V>
void choose_sampled(const LogitTile<V>& tile,
                    const float* logits,
                    TokenId first_id,
                    float largest,
                    const Measure& measure,
                    MeasurePartial& partial) {
  constexpr double kSmallestNoise = -2.82;  // -log(-log 2^-24) = -2.8115...
  constexpr float kLargestNoise = 16.7F;    // -log(-log(1 - 2^-24)) = 16.63...
  const double floor = double{largest} / partial.temperature + kSmallestNoise;
  const auto bound_now = [&] {
    return ReachBound<V>(partial.temperature, partial.score > floor ? partial.score : floor);
  };
  ReachBound<V> bound = bound_now();
  if (V::largest(bound(V::set(largest))) < -kLargestNoise) return;
  alignas(64) std::uint32_t words[kTileIds];
  alignas(64) std::uint32_t complements[kTileIds];  // 2^24 (1 - u)
  token_words(measure, first_id, words);
  for (std::size_t i = 0; i < kTileIds; ++i) complements[i] = 0xFFFFFFU - 2 * (words[i] >> 9);
  for (std::size_t i = 0; i < LogitTile<V>::kVectors; ++i) {
    const std::size_t first = i * V::kLanes;
    const auto complement = V::mul(V::from_int(complements + first), V::set(0x1p-24F));
    std::uint32_t candidates = V::not_less(exponential<V>(bound(tile.x[i])), complement);
    const double before = partial.score;
    for (; candidates != 0; candidates &= candidates - 1) {
      const std::size_t j = first + static_cast<std::size_t>(std::countr_zero(candidates));
      const double score = exact_score(logits[j], words[j], partial.temperature);
      if (!(score >= partial.score)) continue;
      partial.score = score;
      partial.token = first_id + static_cast<TokenId>(j);
      partial.logit = logits[j];
    }
    if (partial.score > before) bound = bound_now();
  }
}

template <typename V>
void measure_tile(const float* logits,
                  TokenId first_id,
                  const Measure& measure,
                  MeasurePartial& partial) {
  const LogitTile<V> tile(logits);
  const float largest = tile.largest();
  if (!(largest > -INFINITY)) return;
  if (double{largest} > partial.max_logit) raise_maximum(largest, partial);
  if (double{largest} >= partial.max_logit) {
    partial.greedy_token = first_id + tile.last_of(largest);
  }
  add_sums(tile, measure.kind == MeasureKind::kCanvas, partial);
  if (measure.kind == MeasureKind::kGreedy || measure.temperature == 0.0F) {
    if (partial.greedy_token < first_id) return;
    partial.score = partial.max_logit;
    partial.token = partial.greedy_token;
    partial.logit = largest;
  } else {
    choose_sampled(tile, logits, first_id, largest, measure, partial);
  }
}

}  // namespace
}  // namespace tessera::kernels

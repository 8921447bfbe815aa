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

// Below it, a temperature leaves the largest logits and nothing else.
constexpr float kLeastTemperature = 1e-30F;

inline float inverse_of(float temperature) {
  return 1.0F / (temperature > kLeastTemperature ? temperature : kLeastTemperature);
}

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
  const auto inverse = V::set(inverse_of(partial.temperature));
  const bool tempered = partial.temperature != 1.0F;
  auto plain_sum = V::zero();
  auto tempered_sum = V::zero();
  auto weighted_sum = V::zero();
  for (const auto& x : tile.x) {
    const auto distance = V::sub(x, high);
    const auto plain = exponential<V>(distance);
    plain_sum = V::add(plain_sum, plain);
    if (!tempered && !weighted) continue;
    const auto scaled = V::max(V::mul(distance, inverse), V::set(-100.0F));
    const auto weight = tempered ? exponential<V>(scaled) : plain;
    tempered_sum = V::add(tempered_sum, weight);
    weighted_sum = V::fma(scaled, weight, weighted_sum);
  }
  const double plain = V::sum(plain_sum);
  partial.plain_sum += plain;
  partial.tempered_sum += tempered || weighted ? double{V::sum(tempered_sum)} : plain;
  if (weighted) partial.tempered_weighted_sum += double{V::sum(weighted_sum)};
}

/// Random words of ids [first_id, first_id + 4 kLanes), in order: philox4x32_10
/// (common/base/philox.h) on kLanes counters at a time.
template <typename V>
void token_words(const Measure& measure, TokenId first_id, typename V::Words (&c)[4]) {
  using Words = typename V::Words;
  c[0] = V::count_from(static_cast<std::uint32_t>(first_id) >> 2);
  c[1] = V::words(static_cast<std::uint32_t>(measure.position));
  c[2] = V::words(static_cast<std::uint32_t>(measure.denoising_step));
  c[3] = V::words(static_cast<std::uint32_t>(RandomStream::kToken));
  auto k0 = static_cast<std::uint32_t>(measure.seed);
  auto k1 = static_cast<std::uint32_t>(measure.seed >> 32);
  for (int round = 0; round < 10; ++round) {
    Words high0;
    Words low0;
    Words high1;
    Words low1;
    V::multiply(c[0], V::words(0xD2511F53U), high0, low0);
    V::multiply(c[2], V::words(0xCD9E8D57U), high1, low1);
    c[0] = V::exclusive_or(high1, c[1], V::words(k0));
    c[2] = V::exclusive_or(high0, c[3], V::words(k1));
    c[1] = low1;
    c[3] = low0;
    k0 += 0x9E3779B9U;
    k1 += 0xBB67AE85U;
  }
  V::interleave(c);
}

// Upper bounds, in fp32, of what an id needs to reach a score `best`: -log u >= 1 - u, so that
// t - log(-log u) >= best takes 1 - u <= exp(t - best). The slack covers the rounding of t and of
// `best`; it keeps every id where they are beyond 1e30 or the temperature is next to nothing.
template <typename V>
class ReachBound {
 public:
  ReachBound(float temperature, double best)
      : inverse_(V::set(inverse_of(temperature))),
        best_(V::set(temperature > kLeastTemperature ? clamp(best) : -kLimit)) {}

  typename V::Float operator()(typename V::Float logit) const {
    const auto limit = V::set(kLimit);
    const auto t = V::max(V::min(V::mul(logit, inverse_), limit), V::sub(V::zero(), limit));
    const auto size = V::add(V::absolute(t), V::absolute(best_));
    return V::add(V::fma(size, V::set(0x1p-22F), V::sub(t, best_)), V::set(2e-3F));
  }

 private:
  static constexpr float kLimit = 1e30F;
  static float clamp(double x) {
    return x > double{kLimit} ? kLimit : x < -double{kLimit} ? -kLimit : static_cast<float>(x);
  }
  typename V::Float inverse_;
  typename V::Float best_;
};

// Takes the best of the candidates (a bit each) if it beats the score so far; true if it does.
inline bool choose_among(std::uint32_t candidates,
                         const float* logits,
                         const std::uint32_t* words,
                         TokenId first_id,
                         MeasurePartial& partial) {
  bool beaten = false;
  for (; candidates != 0; candidates &= candidates - 1) {
    const int lane = std::countr_zero(candidates);
    const double score = exact_score(logits[lane], words[lane], partial.temperature);
    if (!(score >= partial.score)) continue;
    beaten = true;
    partial.score = score;
    partial.token = first_id + lane;
    partial.logit = logits[lane];
  }
  return beaten;
}

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
  typename V::Words words[4];
  for (std::size_t i = 0; i < LogitTile<V>::kVectors; ++i) {
    const std::size_t first = i * V::kLanes;
    if (i % 4 == 0) token_words<V>(measure, first_id + static_cast<TokenId>(first), words);
    // 2^24 (1 - u), exactly.
    const auto complement =
        V::subtract(V::words(0xFFFFFFU), V::shift_left(V::shift_right(words[i % 4], 9), 1));
    const auto rest = V::mul(V::from_int(complement), V::set(0x1p-24F));
    const std::uint32_t candidates = V::not_less(exponential<V>(bound(tile.x[i])), rest);
    if (candidates == 0) continue;
    alignas(64) std::uint32_t of_lane[V::kLanes];
    V::store(of_lane, words[i % 4]);
    if (choose_among(candidates, logits + first, of_lane, first_id + static_cast<TokenId>(first),
                     partial)) {
      bound = bound_now();
    }
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

#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>

#include "kernels/convert.h"
#include "kernels/ops.h"

namespace tessera::kernels {

/// qk_norm_rope_store over a range of rows, written once for all instruction sets.
///
/// `Vector` is a type local to the file that is compiled for the instruction set: fp32 lanes with
///   kLanes, load, store, set1, +, * , fma(a, b, c) = a b + c, sum (in a fixed order), and
///   store_bfloat16 (nearest even).
template <typename Vector>
class QkvRows {
 public:
  explicit QkvRows(const QkvArgs& args) : args_(args), head_dim_(args.pages.head_dim) {}

  void run(std::int32_t part, std::int32_t num_parts) {
    const std::int64_t begin = args_.qkv.rows * part / num_parts;
    const std::int64_t end = args_.qkv.rows * (part + 1) / num_parts;
    for (std::int64_t row = begin; row < end; ++row) compute(row);
  }

 private:
  void compute(std::int64_t row) {
    const std::int32_t num_q = args_.num_q_heads;
    const std::int32_t num_kv = args_.pages.num_kv_heads;
    auto* const q = static_cast<std::uint16_t*>(args_.q.row(row));
    auto* const k = static_cast<std::uint16_t*>(args_.k.row(row));
    auto* const v = static_cast<std::uint16_t*>(args_.v.row(row));
    for (std::int32_t h = 0; h < num_q; ++h) {
      const float squares = load(row, h);
      if (!args_.q_norm.empty()) normalise(args_.q_norm.data(), squares);
      turn(row, q + h * head_dim_);
    }
    for (std::int32_t h = 0; h < num_kv; ++h) {
      const float squares = load(row, num_q + h);
      if (!args_.k_norm.empty()) normalise(args_.k_norm.data(), squares);
      turn(row, k + h * head_dim_);
      const float value_squares = load(row, num_q + (args_.value_from_key ? 0 : num_kv) + h);
      if (args_.value_norm) normalise(nullptr, value_squares);
      round(v + h * head_dim_);
    }
    const std::int64_t slot = args_.slots[static_cast<std::size_t>(row)];
    if (slot < 0) return;
    const std::int64_t elements = std::int64_t{num_kv} * head_dim_;
    const auto num_bytes = static_cast<std::size_t>(elements) * 2;
    std::memcpy(static_cast<std::uint16_t*>(args_.pages.k) + slot * elements, k, num_bytes);
    std::memcpy(static_cast<std::uint16_t*>(args_.pages.v) + slot * elements, v, num_bytes);
  }

  // head_ = a head of the fused row plus its bias. Returns the sum of its squares.
  float load(std::int64_t row, std::int64_t index) {
    const float* const in = static_cast<const float*>(args_.qkv.row(row)) + index * head_dim_;
    const float* const bias = args_.bias.empty() ? nullptr : args_.bias.data() + index * head_dim_;
    Vector squares = Vector::set1(0.0F);
    std::int32_t j = 0;
    for (; j + Vector::kLanes <= head_dim_; j += Vector::kLanes) {
      Vector x = Vector::load(in + j);
      if (bias != nullptr) x = x + Vector::load(bias + j);
      x.store(head_ + j);
      squares = fma(x, x, squares);
    }
    float sum = squares.sum();
    for (; j < head_dim_; ++j) {
      head_[j] = bias != nullptr ? in[j] + bias[j] : in[j];
      sum += head_[j] * head_[j];
    }
    return sum;
  }

  // Rotation and rounding of head_.
  void turn(std::int64_t row, std::uint16_t* out) {
    if (args_.rope.cols > 0) rotate(args_.positions[static_cast<std::size_t>(row)]);
    round(out);
  }

  // weight null: ones.
  void normalise(const float* weight, float squares) {
    const float mean = squares / static_cast<float>(head_dim_);
    const float scale = 1.0F / std::sqrt(mean + args_.eps);
    const Vector scales = Vector::set1(scale);
    std::int32_t j = 0;
    for (; j + Vector::kLanes <= head_dim_; j += Vector::kLanes) {
      const Vector factors = weight == nullptr ? scales : scales * Vector::load(weight + j);
      (Vector::load(head_ + j) * factors).store(head_ + j);
    }
    for (; j < head_dim_; ++j) head_[j] *= weight == nullptr ? scale : scale * weight[j];
  }

  void rotate(Position position) {
    const auto half = static_cast<std::int32_t>(args_.rope.cols / 2);
    const float* const cosine = static_cast<const float*>(args_.rope.row(position));
    const float* const sine = cosine + half;
    float* const low = head_;
    float* const high = head_ + half;
    std::int32_t j = 0;
    for (; j + Vector::kLanes <= half; j += Vector::kLanes) {
      const Vector c = Vector::load(cosine + j);
      const Vector s = Vector::load(sine + j);
      const Vector a = Vector::load(low + j);
      const Vector b = Vector::load(high + j);
      (a * c - b * s).store(low + j);
      (b * c + a * s).store(high + j);
    }
    for (; j < half; ++j) {
      const float a = low[j];
      const float b = high[j];
      low[j] = a * cosine[j] - b * sine[j];
      high[j] = b * cosine[j] + a * sine[j];
    }
  }

  void round(std::uint16_t* out) const {
    std::int32_t j = 0;
    for (; j + Vector::kLanes <= head_dim_; j += Vector::kLanes) {
      Vector::load(head_ + j).store_bfloat16(out + j);
    }
    for (; j < head_dim_; ++j) out[j] = bfloat16_of_float(head_[j]);
  }

  const QkvArgs& args_;
  std::int32_t head_dim_;
  alignas(64) float head_[512];  // head_dim at most
};

}  // namespace tessera::kernels

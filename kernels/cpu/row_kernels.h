#pragma once

// Kernels on rows for a vector type V (vector_avx512.h, vector_avx2.h). Included only by the source
// of one instruction set; internal linkage, so that no other source ends up with its code.

#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/ops.h"

namespace tessera::kernels {
namespace {

/// exp to about 1 ulp; 0 below -87.3, and the largest finite power for more than 88.
template <typename V>
typename V::Float exponential(typename V::Float x) {
  using Float = typename V::Float;
  const Float clamped = V::min(V::max(x, V::set(-87.3F)), V::set(88.0F));
  const Float n = V::round(V::mul(clamped, V::set(1.44269504F)));
  Float r = V::fma(n, V::set(-0.693359375F), clamped);
  r = V::fma(n, V::set(2.12194440e-4F), r);
  Float p = V::set(1.9875691500e-4F);
  p = V::fma(p, r, V::set(1.3981999507e-3F));
  p = V::fma(p, r, V::set(8.3334519073e-3F));
  p = V::fma(p, r, V::set(4.1665795894e-2F));
  p = V::fma(p, r, V::set(1.6666665459e-1F));
  p = V::fma(p, r, V::set(5.0000001201e-1F));
  p = V::add(V::fma(p, V::mul(r, r), r), V::set(1.0F));
  return V::select_greater(V::set(-87.3F), x, V::zero(), V::scale(p, n));
}

template <typename V, typename Body>
void for_vectors(std::int64_t cols, const Body& body) {
  for (std::int64_t j = 0; j < cols; j += V::kLanes) {
    body(j, cols - j < V::kLanes ? cols - j : V::kLanes);
  }
}

template <typename V>
void widen_row(const void* row, DType dtype, std::int64_t cols, float* out) {
  const auto* floats = static_cast<const float*>(row);
  const auto* halves = static_cast<const std::uint16_t*>(row);
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const auto value = dtype == DType::kFloat32   ? V::load(floats + j, count)
                       : dtype == DType::kFloat16 ? V::load_float16(halves + j, count)
                                                  : V::load_bfloat16(halves + j, count);
    V::store(out + j, count, V::add(value, V::zero()));
  });
}

template <typename V>
void add_row(float* sum, const float* x, std::int64_t cols) {
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    V::store(sum + j, count, V::add(V::load(sum + j, count), V::load(x + j, count)));
  });
}

template <typename V>
void add_scaled_row(float* sum, const float* x, float scale, std::int64_t cols) {
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    V::store(sum + j, count, V::fma(V::set(scale), V::load(x + j, count), V::load(sum + j, count)));
  });
}

template <typename V>
void rms_norm_row(const float* x, std::span<const float> weight, float eps, std::uint16_t* out) {
  using Float = typename V::Float;
  const auto cols = static_cast<std::int64_t>(weight.size());
  Float squares = V::zero();
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const Float value = V::load(x + j, count);
    squares = V::fma(value, value, squares);
  });
  const float mean = V::sum(squares) / static_cast<float>(cols);
  const Float scale = V::set(1.0F / std::sqrt(mean + eps));
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const Float normal = V::round_bfloat16(V::mul(V::load(x + j, count), scale));
    V::store_bfloat16(out + j, count, V::mul(V::load(weight.data() + j, count), normal));
  });
}

template <typename V>
void add_rms_norm_row(float* residual,
                      const float* delta,
                      std::span<const float> weight,
                      float eps,
                      std::uint16_t* out) {
  add_row<V>(residual, delta, static_cast<std::int64_t>(weight.size()));
  rms_norm_row<V>(residual, weight, eps, out);
}

// The norm of a row in fp32, rounded once where `out` is bf16. weight null: ones.
template <typename V, typename Out>
void rms_norm_once_row(
    const float* x, const float* weight, std::int64_t cols, float eps, Out* out) {
  using Float = typename V::Float;
  Float squares = V::zero();
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const Float value = V::load(x + j, count);
    squares = V::fma(value, value, squares);
  });
  const float mean = V::sum(squares) / static_cast<float>(cols);
  const Float scale = V::set(1.0F / std::sqrt(mean + eps));
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    Float normal = V::mul(V::load(x + j, count), scale);
    if (weight != nullptr) normal = V::mul(V::load(weight + j, count), normal);
    if constexpr (std::is_same_v<Out, float>) {
      V::store(out + j, count, normal);
    } else {
      V::store_bfloat16(out + j, count, normal);
    }
  });
}

template <typename V>
void scale_row(float* x, float factor, std::int64_t cols) {
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    V::store(x + j, count, V::mul(V::load(x + j, count), V::set(factor)));
  });
}

// cap tanh(x / cap), with tanh(y) = 1 - 2 / (1 + exp(2 y)); what is not a number stays.
template <typename V>
void softcap_row(float* x, float cap, std::int64_t cols) {
  using Float = typename V::Float;
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const Float value = V::load(x + j, count);
    const Float power = exponential<V>(V::mul(value, V::set(2.0F / cap)));
    const Float rest = V::div(V::set(2.0F), V::add(V::set(1.0F), power));
    const Float capped = V::mul(V::set(cap), V::sub(V::set(1.0F), rest));
    V::store(x + j, count, V::select_greater(value, V::set(-INFINITY), capped, value));
  });
}

// out = bf16 of exp((x - high) inverse_temperature) inverse_sum; 0 where x is -inf.
template <typename V>
void softmax_row(const float* x, const SoftmaxScale& scale, std::int64_t cols, std::uint16_t* out) {
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const auto distance = V::sub(V::load(x + j, count), V::set(scale.high));
    const auto scaled =
        V::max(V::mul(distance, V::set(scale.inverse_temperature)), V::set(-100.0F));
    V::store_bfloat16(out + j, count, V::mul(exponential<V>(scaled), V::set(scale.inverse_sum)));
  });
}

// x sigmoid(-minus_argument(x)), times `up`: silu and gelu alike.
template <typename V, typename MinusArgument>
void gated_mul_row(const float* gate,
                   const float* up,
                   std::int64_t cols,
                   std::uint16_t* out,
                   const MinusArgument& minus_argument) {
  using Float = typename V::Float;
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const Float x = V::load(gate + j, count);
    const Float denominator = V::add(V::set(1.0F), exponential<V>(minus_argument(x)));
    V::store_bfloat16(out + j, count, V::mul(V::div(x, denominator), V::load(up + j, count)));
  });
}

template <typename V>
void silu_mul_row(const float* gate, const float* up, std::int64_t cols, std::uint16_t* out) {
  gated_mul_row<V>(gate, up, cols, out, [](typename V::Float x) { return V::sub(V::zero(), x); });
}

// x / 2 (1 + tanh(y)) = x / (1 + exp(-2 y)) with y = sqrt(2 / pi) (x + 0.044715 x^3).
template <typename V>
void gelu_mul_row(const float* gate, const float* up, std::int64_t cols, std::uint16_t* out) {
  gated_mul_row<V>(gate, up, cols, out, [](typename V::Float x) {
    const auto cubic = V::fma(V::mul(x, x), V::set(0.044715F), V::set(1.0F));
    return V::mul(V::mul(x, cubic), V::set(-2.0F * 0.79788456F));
  });
}

template <typename V>
float norm_of(const float* row, std::int64_t cols) {
  typename V::Float squares = V::zero();
  for_vectors<V>(cols, [&](std::int64_t j, std::int64_t count) {
    const auto x = V::load(row + j, count);
    squares = V::fma(x, x, squares);
  });
  return std::sqrt(V::sum(squares));
}

template <typename V>
void apply_recipe_row(const RecipeRow& row, const ConstMatrixView& gathered, float* out) {
  using Float = typename V::Float;
  const EmbeddingRecipe& recipe = *row.recipe;
  const bool blend = recipe.kind == RecipeKind::kBlend;
  const auto source = [&](std::int32_t i) {
    return static_cast<const float*>(gathered.row(row.first_gathered + i));
  };
  const float* base = source(recipe.num_ids);
  const float base_weight = blend ? recipe.residual : 1.0F;
  const float id_weight = blend ? 1.0F : recipe.weight;
  float wanted = base_weight * norm_of<V>(base, gathered.cols);
  for (std::int32_t i = 0; i < recipe.num_ids; ++i) {
    wanted +=
        recipe.probabilities[static_cast<std::size_t>(i)] * norm_of<V>(source(i), gathered.cols);
  }
  for_vectors<V>(gathered.cols, [&](std::int64_t j, std::int64_t count) {
    Float sum = V::zero();
    for (std::int32_t i = 0; i < recipe.num_ids; ++i) {
      sum = V::fma(V::set(recipe.probabilities[static_cast<std::size_t>(i)]),
                   V::load(source(i) + j, count), sum);
    }
    sum = V::mul(sum, V::set(id_weight));
    V::store(out + j, count, V::fma(V::set(base_weight), V::load(base + j, count), sum));
  });
  if (!blend || !recipe.renormalize) return;
  const float norm = norm_of<V>(out, gathered.cols);
  const Float factor = V::set(wanted / (norm > 1e-12F ? norm : 1e-12F));
  for_vectors<V>(gathered.cols, [&](std::int64_t j, std::int64_t count) {
    V::store(out + j, count, V::mul(V::load(out + j, count), factor));
  });
}

}  // namespace
}  // namespace tessera::kernels

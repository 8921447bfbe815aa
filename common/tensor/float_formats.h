#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "common/tensor/dtype.h"

namespace tessera {

/// bf16 is the upper half of an fp32.
inline float float_of_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

/// Round to nearest even; NaN stays NaN.
inline std::uint16_t bfloat16_of_float(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if ((bits & 0x7FFFFFFFU) > 0x7F800000U) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

inline float float_of_float16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000U) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1FU;
  const std::uint32_t mantissa = bits & 0x3FFU;
  if (exponent == 0) {  // zero or subnormal: mantissa 2^-24, exact in fp32
    const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(magnitude) | sign);
  }
  const std::uint32_t wide = exponent == 31 ? 0xFFU : exponent + 112U;
  return std::bit_cast<float>(sign | (wide << 23) | (mantissa << 13));
}

/// Element `index` of a row of floating dtype, at any address.
inline float load_element(const void* row, DType dtype, std::int64_t index) {
  const auto load = [&]<typename T>(T value) {
    std::memcpy(&value, static_cast<const std::byte*>(row) + index * std::int64_t{sizeof value},
                sizeof value);
    return value;
  };
  switch (dtype) {
    case DType::kFloat32: return load(0.0F);
    case DType::kFloat16: return float_of_float16(load(std::uint16_t{0}));
    case DType::kBFloat16: return float_of_bfloat16(load(std::uint16_t{0}));
    case DType::kInt32: break;
  }
  return 0.0F;  // callers have checked the dtype
}

}  // namespace tessera

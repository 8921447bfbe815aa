#pragma once

#include <cstdint>
#include <string_view>

namespace tessera {

enum class DType : std::uint8_t { kFloat32, kFloat16, kBFloat16, kInt32 };

constexpr std::int64_t size_of(DType dtype) {
  return dtype == DType::kFloat32 || dtype == DType::kInt32 ? 4 : 2;
}

constexpr std::string_view name_of(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "float32";
    case DType::kFloat16: return "float16";
    case DType::kBFloat16: return "bfloat16";
    case DType::kInt32: return "int32";
  }
  return "unknown";
}

}  // namespace tessera

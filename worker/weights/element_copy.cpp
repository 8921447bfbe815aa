#include "worker/weights/element_copy.h"

#include <cstring>

#include "common/base/error.h"
#include "common/tensor/float_formats.h"

namespace tessera {
namespace {

template <typename Source, typename Target, typename Convert>
void convert_elements(const std::byte* source, std::int64_t count, void* out, Convert convert) {
  auto* target = static_cast<Target*>(out);
  for (std::int64_t i = 0; i < count; ++i) {
    Source value;
    std::memcpy(&value, source + i * static_cast<std::int64_t>(sizeof(Source)), sizeof(Source));
    target[i] = convert(value);
  }
}

}  // namespace

void copy_elements(const std::byte* source, DType from, std::int64_t count, void* out, DType to) {
  TESSERA_CHECK(from != DType::kInt32 && (to == DType::kFloat32 || to == DType::kBFloat16),
                "no conversion from ", name_of(from), " to ", name_of(to));
  const bool widen = to == DType::kFloat32;
  if (from == to) {
    std::memcpy(out, source, static_cast<std::size_t>(count * size_of(to)));
  } else if (from == DType::kFloat32) {
    convert_elements<float, std::uint16_t>(source, count, out, bfloat16_of_float);
  } else if (from == DType::kBFloat16) {
    convert_elements<std::uint16_t, float>(source, count, out, float_of_bfloat16);
  } else if (widen) {
    convert_elements<std::uint16_t, float>(source, count, out, float_of_float16);
  } else {
    convert_elements<std::uint16_t, std::uint16_t>(source, count, out, [](std::uint16_t bits) {
      return bfloat16_of_float(float_of_float16(bits));
    });
  }
}

}  // namespace tessera

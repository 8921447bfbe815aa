#include "kernels/cpu/cpu_matrix.h"

#include <cstring>

#include "kernels/convert.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kPairsPerStripe = 64;  // a stripe of a panel is 16 KB: it stays in L1

// The bf16 bits of an element, from memory of any alignment.
template <DType kDType>
std::uint32_t rounded_element(const std::byte* row, std::int64_t index) {
  if constexpr (kDType == DType::kFloat32) {
    float value = 0.0F;
    std::memcpy(&value, row + index * 4, 4);
    return bfloat16_of_float(value);
  } else {
    std::uint16_t bits = 0;
    std::memcpy(&bits, row + index * 2, 2);
    return kDType == DType::kBFloat16 ? bits : bfloat16_of_float(float_of_float16(bits));
  }
}

// Pairs [begin, end) of a row, 64 pairs apart.
template <DType kDType>
void pack_pairs(const std::byte* row,
                std::int64_t cols,
                std::int64_t begin,
                std::int64_t end,
                std::uint32_t* out) {
  for (std::int64_t i = begin; i < end; ++i) {
    const std::uint32_t low = rounded_element<kDType>(row, 2 * i);
    const std::uint32_t high = 2 * i + 1 < cols ? rounded_element<kDType>(row, 2 * i + 1) : 0;
    out[i * kPanelWidth] = low | (high << 16);
  }
}

template <DType kDType>
void pack(const CpuMatrix& matrix,
          std::int64_t first_row,
          const ConstMatrixView& rows,
          std::int64_t begin,
          std::int64_t end) {
  const std::int64_t num_pairs = (rows.cols + 1) / 2;
  for (std::int64_t row = begin; row < end;) {
    const CpuMatrix::Place place = matrix.place(first_row + row);
    const std::int64_t count =
        std::min(end - row, matrix.width(place.panel) - place.column);  // rows in this panel
    auto* panel = reinterpret_cast<std::uint32_t*>(matrix.panel(place.panel));
    for (std::int64_t pair = 0; pair < num_pairs; pair += kPairsPerStripe) {
      const std::int64_t stripe_end = std::min(num_pairs, pair + kPairsPerStripe);
      for (std::int64_t i = 0; i < count; ++i) {
        pack_pairs<kDType>(static_cast<const std::byte*>(rows.row(row + i)), rows.cols, pair,
                           stripe_end, panel + place.column + i);
      }
    }
    row += count;
  }
}

}  // namespace

void pack_rows_cpu(const CpuMatrix& matrix,
                   std::int64_t first_row,
                   const ConstMatrixView& rows,
                   std::int64_t begin,
                   std::int64_t end) {
  switch (rows.dtype) {
    case DType::kFloat32: return pack<DType::kFloat32>(matrix, first_row, rows, begin, end);
    case DType::kFloat16: return pack<DType::kFloat16>(matrix, first_row, rows, begin, end);
    case DType::kBFloat16: return pack<DType::kBFloat16>(matrix, first_row, rows, begin, end);
    case DType::kInt32: break;  // check_pack_rows has refused it
  }
}

void unpack_row_cpu(const CpuMatrix& matrix, std::int64_t row, float* out) {
  const CpuMatrix::Place place = matrix.place(row);
  const auto* pairs =
      reinterpret_cast<const std::uint32_t*>(matrix.panel(place.panel)) + place.column;
  for (std::int64_t i = 0; i < matrix.shape().cols / 2; ++i) {
    const std::uint32_t pair = pairs[i * kPanelWidth];
    out[2 * i] = float_of_bfloat16(static_cast<std::uint16_t>(pair)) + 0.0F;
    out[2 * i + 1] = float_of_bfloat16(static_cast<std::uint16_t>(pair >> 16)) + 0.0F;
  }
}

}  // namespace tessera::kernels

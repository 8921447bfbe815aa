#include "kernels/cpu/cpu_matrix.h"

#include <immintrin.h>

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

constexpr std::int64_t kBlockRows = 16;  // 16 rows of a pair fill a cache line of the panel
constexpr std::int64_t kBlockPairs = 4;
constexpr std::int64_t kLinePairs = 16;  // of a row

// Four pairs of rows 0 to 3, and of rows 4 to 7 in the upper halves, to eight rows of each pair. A
// pair of bf16 is four bytes as it lies. Every machine that has this back end has AVX2.
struct EightRows {
  __m256i pair[kBlockPairs];
};

__attribute__((target("avx2"))) inline __m256i load_two_rows(const std::byte* in,
                                                             std::int64_t row_bytes) {
  const auto* low = reinterpret_cast<const __m128i*>(in);
  const auto* high = reinterpret_cast<const __m128i*>(in + 4 * row_bytes);
  return _mm256_inserti128_si256(_mm256_castsi128_si256(_mm_loadu_si128(low)),
                                 _mm_loadu_si128(high), 1);
}

__attribute__((target("avx2"))) inline EightRows transpose_eight_rows(const std::byte* in,
                                                                      std::int64_t row_bytes) {
  const __m256i row0 = load_two_rows(in, row_bytes);
  const __m256i row1 = load_two_rows(in + row_bytes, row_bytes);
  const __m256i row2 = load_two_rows(in + 2 * row_bytes, row_bytes);
  const __m256i row3 = load_two_rows(in + 3 * row_bytes, row_bytes);
  const __m256i low01 = _mm256_unpacklo_epi32(row0, row1);
  const __m256i low23 = _mm256_unpacklo_epi32(row2, row3);
  const __m256i high01 = _mm256_unpackhi_epi32(row0, row1);
  const __m256i high23 = _mm256_unpackhi_epi32(row2, row3);
  return {{_mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
           _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)}};
}

// Pairs [begin, end), a multiple of four, of 16 rows. Whole lines go past the cache: nobody reads
// them soon, and what they replace need not be fetched. `next`: the pairs of 16 rows that are
// packed a stripe later; 64 short streams are more than the processor fetches by itself.
__attribute__((target("avx2"))) void pack_sixteen_rows(const std::byte* in,
                                                       std::int64_t row_bytes,
                                                       std::int64_t begin,
                                                       std::int64_t end,
                                                       const std::byte* next,
                                                       std::uint32_t* out) {
  for (std::int64_t pair = begin; pair < end; pair += kBlockPairs) {
    if ((pair - begin) % kLinePairs == 0) {
      for (std::int64_t row = 0; row < kBlockRows; ++row) {
        _mm_prefetch(next + row * row_bytes + (pair - begin) * 4, _MM_HINT_T1);
      }
    }
    const EightRows first = transpose_eight_rows(in + pair * 4, row_bytes);
    const EightRows second = transpose_eight_rows(in + 8 * row_bytes + pair * 4, row_bytes);
    auto* line = reinterpret_cast<__m256i*>(out + pair * kPanelWidth);
#pragma GCC unroll 4
    for (std::int64_t i = 0; i < kBlockPairs; ++i, line += kPanelWidth / 8) {
      _mm256_stream_si256(line, first.pair[i]);
      _mm256_stream_si256(line + 1, second.pair[i]);
    }
  }
}

// Rows [row, row + count), pairs [begin, end), to panel columns [column, column + count).
template <DType kDType>
void pack_stripe(const ConstMatrixView& rows,
                 std::int64_t row,
                 std::int64_t count,
                 std::int64_t begin,
                 std::int64_t end,
                 std::uint32_t* panel,
                 std::int64_t column) {
  const auto source = [&](std::int64_t i) {
    return static_cast<const std::byte*>(rows.row(row + i));
  };
  std::int64_t whole = begin;
  if (kDType == DType::kBFloat16) {
    whole += (std::min(end, rows.cols / 2) - begin) / kBlockPairs * kBlockPairs;
  }
  for (std::int64_t i = 0; i < count;) {
    const bool is_block =
        whole > begin && (column + i) % kBlockRows == 0 && i + kBlockRows <= count;
    const std::int64_t step = is_block ? kBlockRows : 1;
    if (is_block) {
      const std::byte* next = end < rows.cols / 2 ? source(i) + end * 4 : source(i + kPanelWidth);
      pack_sixteen_rows(source(i), rows.row_stride * 2, begin, whole, next, panel + column + i);
    }
    for (std::int64_t j = i; j < i + step; ++j) {
      pack_pairs<kDType>(source(j), rows.cols, is_block ? whole : begin, end, panel + column + j);
    }
    i += step;
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
    const std::int64_t count = std::min(end - row, place.count);  // rows in this panel
    auto* panel = reinterpret_cast<std::uint32_t*>(matrix.panel(place.panel));
    for (std::int64_t pair = 0; pair < num_pairs; pair += kPairsPerStripe) {
      const std::int64_t stripe_end = std::min(num_pairs, pair + kPairsPerStripe);
      pack_stripe<kDType>(rows, row, count, pair, stripe_end, panel, place.column);
    }
    row += count;
  }
  _mm_sfence();  // stores past the cache are not ordered by what tells other threads
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

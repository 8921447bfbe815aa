#include "kernels/cuda/emulation/matrix_unit.h"

#include <array>
#include <cstring>

#include "common/tensor/float_formats.h"
#include "kernels/cuda/emulation/shared_tracker.h"

namespace tessera::kernels::cuda::emulation {
namespace {

struct Fragments {
  std::array<std::uint32_t, 4> a;
  std::array<std::uint32_t, 2> b;
};

float half_of(std::uint32_t packed, std::size_t half) {
  return float_of_bfloat16(static_cast<std::uint16_t>(half == 0 ? packed & 0xFFFFU : packed >> 16));
}

// a b of a whole warp. Every lane asks with the same operands: only the first computes.
class WarpProduct {
 public:
  using Rows = std::array<std::array<float, 8>, 16>;

  const Rows& of(const std::byte* all) {
    if (std::memcmp(all, operands_.data(), operands_.size()) != 0) {
      std::memcpy(operands_.data(), all, operands_.size());
      compute();
    }
    return product_;
  }

 private:
  void compute() {
    std::array<std::array<float, 16>, 16> a;  // [row, k]
    std::array<std::array<float, 8>, 16> b;   // [k, col]
    for (int lane = 0; lane < 32; ++lane) {
      const auto mine = value_of_lane<Fragments>(operands_.data(), lane);
      const auto g = static_cast<std::size_t>(lane / 4);
      const auto t = static_cast<std::size_t>(lane % 4);
      for (std::size_t half = 0; half < 2; ++half) {
        for (std::size_t i = 0; i < 4; ++i) {
          a[g + i % 2 * 8][2 * t + i / 2 * 8 + half] = half_of(mine.a[i], half);
        }
        for (std::size_t i = 0; i < 2; ++i) b[2 * t + i * 8 + half][g] = half_of(mine.b[i], half);
      }
    }
    for (std::size_t row = 0; row < 16; ++row) {
      product_[row].fill(0.0F);
      for (std::size_t k = 0; k < 16; ++k) {
        for (std::size_t col = 0; col < 8; ++col) product_[row][col] += a[row][k] * b[k][col];
      }
    }
  }

  std::array<std::byte, 32 * kExchangeBytes> operands_{};
  Rows product_{};
};

}  // namespace

void multiply_16x8x16(float (&c)[4],
                      const std::uint32_t (&a)[4],
                      const std::uint32_t (&b)[2],
                      const Site& site) {
  static thread_local std::array<WarpProduct, 32> products;  // of the warps of a CTA
  const Fragments mine{{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  WarpProduct& product = products[thread_index().x / 32];
  const auto& rows = product.of(exchange(&mine, sizeof mine, 0xFFFFFFFFU, site));
  const auto row = static_cast<std::size_t>(this_lane() / 4);
  const auto col = static_cast<std::size_t>(this_lane() % 4 * 2);
  for (std::size_t i = 0; i < 4; ++i) c[i] += rows[row + i / 2 * 8][col + i % 2];
}

void load_tiles(std::uint32_t (&r)[4], const void* row, bool transposed, const Site& site) {
  track(row, 16, Access::kRead);
  const std::byte* all = exchange(&row, sizeof row, 0xFFFFFFFFU, site);
  const int lane = this_lane();
  const auto element = [&](int tile, int tile_row, int col) {
    const auto* address = value_of_lane<const std::uint16_t*>(all, tile * 8 + tile_row);
    return std::uint32_t{address[col]};
  };
  for (int tile = 0; tile < 4; ++tile) {
    const int first = lane / 4;
    const int second = lane % 4 * 2;
    r[tile] = transposed ? element(tile, second, first) | element(tile, second + 1, first) << 16
                         : element(tile, first, second) | element(tile, first, second + 1) << 16;
  }
}

}  // namespace tessera::kernels::cuda::emulation

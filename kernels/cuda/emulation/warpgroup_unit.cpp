#include "kernels/cuda/emulation/warpgroup_unit.h"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>
#include <vector>

#include "common/tensor/float_formats.h"
#include "kernels/cuda/emulation/run_grid.h"
#include "kernels/cuda/emulation/shared_tracker.h"

namespace tessera::kernels::cuda::emulation {
namespace {

constexpr int kDepth = 16;  // of a product
constexpr int kThreads = 128;
constexpr std::ptrdiff_t kRowBytes = 128;

// Where the hardware finds what lies `offset` bytes behind a descriptor's address.
const std::byte* swizzled(const void* from, std::ptrdiff_t offset) {
  const auto address = reinterpret_cast<std::uintptr_t>(from) + static_cast<std::uintptr_t>(offset);
  return reinterpret_cast<const std::byte*>(address ^ ((address >> 3) & 0x70U));
}

float number_at(const std::byte* address) {
  std::uint16_t bits;
  std::memcpy(&bits, address, sizeof bits);
  return float_of_bfloat16(bits);
}

// Element (depth, col) of a right side.
struct RightSide {
  const void* from;
  bool by_rows;  // its columns are rows in memory
  int panel_rows;

  const std::byte* at(int depth, int col) const {
    if (by_rows) return swizzled(from, col * kRowBytes + depth * 2);
    return swizzled(from, (col / 64 * panel_rows + depth) * kRowBytes + col % 64 * 2);
  }
};

// The two rows of the left side that this thread has sums of.
using LeftRows = std::array<std::array<float, kDepth>, 2>;

// Every thread of the group needs all of the right side; it is tracked in shares.
void track_share(const RightSide& right, int cols) {
  for (int i = static_cast<int>(thread_index().x) % kThreads; i < cols * kDepth; i += kThreads) {
    track(right.at(i % kDepth, i / kDepth), 2, Access::kRead);
  }
}

void add_product(float* c, int cols, const LeftRows& left, const RightSide& right) {
  track_share(right, cols);
  for (int i = 0; i < cols / 2; i += 4) {
    for (int side = 0; side < 2; ++side) {
      const int col = i * 2 + this_lane() % 4 * 2 + side;
      float upper = 0.0F;
      float lower = 0.0F;
      for (int k = 0; k < kDepth; ++k) {
        const float value = number_at(right.at(k, col));
        upper += left[0][static_cast<std::size_t>(k)] * value;
        lower += left[1][static_cast<std::size_t>(k)] * value;
      }
      c[i + side] += upper;
      c[i + 2 + side] += lower;
    }
  }
}

// Sums become unusable with the first product that changes them.
void prepare(float* c, int cols, bool adds) {
  auto& pending = pending_products();
  const auto count = static_cast<std::size_t>(cols) / 2;
  const bool is_first = std::none_of(pending.begin(), pending.end(),
                                     [&](const PendingProduct& other) { return other.sums == c; });
  std::vector<float> before(count);
  if (is_first && adds) std::copy_n(c, count, before.begin());
  if (is_first || !adds) {
    pending.push_back(
        {c, [c, before = std::move(before)] { std::copy(before.begin(), before.end(), c); },
         /*ends_group=*/false});
  }
  std::fill_n(c, count, std::numeric_limits<float>::quiet_NaN());
}

}  // namespace

void multiply_rows(float* c, int cols, const void* a, const void* b, bool adds, const Site& site) {
  exchange(&c, sizeof c, 0xFFFFFFFFU, site);  // all lanes have come
  prepare(c, cols, adds);
  const int warp = static_cast<int>(thread_index().x) % kThreads / 32;
  pending_products().push_back(
      {c,
       [=] {
         LeftRows left;
         for (int half = 0; half < 2; ++half) {
           const int row = warp * 16 + this_lane() / 4 + half * 8;
           for (int k = 0; k < kDepth; ++k) {
             const std::byte* address = swizzled(a, row * kRowBytes + k * 2);
             track(address, 2, Access::kRead);
             left[static_cast<std::size_t>(half)][static_cast<std::size_t>(k)] = number_at(address);
           }
         }
         add_product(c, cols, left, {b, /*by_rows=*/true, /*panel_rows=*/0});
       },
       /*ends_group=*/false});
}

void multiply_cols(float* c,
                   int cols,
                   const std::uint32_t (&a)[4],
                   const void* b,
                   int panel_rows,
                   const Site& site) {
  using Fragment = std::array<std::uint32_t, 4>;
  const Fragment mine = {a[0], a[1], a[2], a[3]};
  const std::byte* all = exchange(&mine, sizeof mine, 0xFFFFFFFFU, site);
  LeftRows left;
  for (int t = 0; t < 4; ++t) {
    const auto fragment = value_of_lane<Fragment>(all, this_lane() / 4 * 4 + t);
    for (std::size_t i = 0; i < 4; ++i) {
      const std::size_t k = static_cast<std::size_t>(t) * 2 + i / 2 * 8;
      left[i % 2][k] = float_of_bfloat16(static_cast<std::uint16_t>(fragment[i] & 0xFFFFU));
      left[i % 2][k + 1] = float_of_bfloat16(static_cast<std::uint16_t>(fragment[i] >> 16));
    }
  }
  prepare(c, cols, /*adds=*/true);
  pending_products().push_back({c,
                                [=] {
                                  add_product(c, cols, left, {b, /*by_rows=*/false, panel_rows});
                                },
                                /*ends_group=*/false});
}

void commit_products() {
  if (!pending_products().empty()) pending_products().back().ends_group = true;
}

void finish_products(int num_pending) {
  auto& pending = pending_products();
  commit_products();
  auto num_groups = std::count_if(pending.begin(), pending.end(),
                                  [](const PendingProduct& product) { return product.ends_group; });
  auto product = pending.begin();
  for (; num_groups > num_pending; ++product) {
    product->run();
    if (product->ends_group) --num_groups;
  }
  pending.erase(pending.begin(), product);
}

}  // namespace tessera::kernels::cuda::emulation

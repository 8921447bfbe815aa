#include "kernels/cpu/cpu_experts.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "common/base/error.h"
#include "kernels/cpu/tile_walk.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kAlignment = 64;

const CpuMatrix& own(const PackedMatrix& matrix) {
  const auto* result = dynamic_cast<const CpuMatrix*>(&matrix);
  TESSERA_REQUIRE(result != nullptr, "packed matrix of another back end");
  return *result;
}

std::int64_t shared_width(const ExpertWeights& weights) {
  return weights.shared_down ? weights.shared_down->shape().cols : 0;
}

/// Parts of a workspace, one after the other.
class Layout {
 public:
  explicit Layout(std::byte* base) : base_(base) {}

  template <typename T>
  T* take(std::int64_t count) {
    auto* part = reinterpret_cast<T*>(base_ + used_);
    used_ += round_up(count * static_cast<std::int64_t>(sizeof(T)), kAlignment);
    return part;
  }
  std::int64_t used() const { return used_; }

 private:
  std::byte* base_;
  std::int64_t used_ = 0;
};

std::byte* aligned(std::span<std::byte> workspace) {
  const auto address = reinterpret_cast<std::uintptr_t>(workspace.data());
  return workspace.data() + (kAlignment - address % kAlignment) % kAlignment;
}

}  // namespace

CpuExperts::CpuExperts(const CpuKernels& kernels, ThreadTeam& team, const MoeArgs& args)
    : kernels_(kernels),
      team_(team),
      args_(args),
      num_leaves_(args.weights->down.front()->shape().k_leaves),
      num_rows_(args.x.rows),
      num_experts_(static_cast<std::int64_t>(args.weights->down.size())),
      num_slots_(num_rows_ * (args.experts_per_token + (args.weights->shared_down ? 1 : 0))),
      num_routed_(num_rows_ * args.experts_per_token),
      widest_(std::max(args.weights->down.front()->shape().cols, shared_width(*args.weights))) {
  const std::int64_t needed =
      workspace_bytes(*args.weights, args.experts_per_token, num_rows_, team.num_threads());
  TESSERA_REQUIRE(static_cast<std::int64_t>(args.workspace.size()) >= needed,
                  "moe_experts: workspace of ", args.workspace.size(), " bytes, needs ", needed);
  Layout layout(aligned(args.workspace));
  first_slots_ = layout.take<std::int64_t>(num_experts_ + 1);
  rows_ = layout.take<std::int64_t>(num_slots_);
  weights_ = layout.take<float>(num_slots_);
  inputs_ = layout.take<std::byte>(num_routed_ * args.x.cols * 2);
  gate_up_ = layout.take<std::byte>(num_slots_ * 2 * widest_ * 4);
  products_ = layout.take<std::byte>(num_slots_ * widest_ * 2);
  sums_ = layout.take<float>(team.num_threads() * num_rows_ * num_leaves_ * kPanelWidth);
}

std::int64_t CpuExperts::workspace_bytes(const ExpertWeights& weights,
                                         std::int32_t experts_per_token,
                                         std::int64_t num_rows,
                                         std::int32_t num_threads) {
  const PackShape& down = weights.down.front()->shape();
  const std::int64_t routed = num_rows * experts_per_token;
  const std::int64_t slots = routed + (weights.shared_down ? num_rows : 0);
  const std::int64_t widest = std::max(down.cols, shared_width(weights));
  Layout layout(nullptr);
  layout.take<std::int64_t>(static_cast<std::int64_t>(weights.down.size()) + 1);
  layout.take<std::int64_t>(slots);
  layout.take<float>(slots);
  layout.take<std::byte>(routed * down.rows * 2);
  layout.take<std::byte>(slots * 2 * widest * 4);
  layout.take<std::byte>(slots * widest * 2);
  layout.take<float>(num_threads * num_rows * down.k_leaves * kPanelWidth);
  return layout.used() + kAlignment;
}

void CpuExperts::run() {
  sort_slots();
  team_.run([&](std::int32_t part) {
    const Share share(num_routed_, part, team_.num_threads());
    gather_rows(share.begin, share.end);
  });
  team_.run([&](std::int32_t part) { multiply_in(part); });
  team_.run([&](std::int32_t part) {
    const Share share(num_slots_, part, team_.num_threads());
    activate(share.begin, share.end);
  });
  team_.run([&](std::int32_t part) {
    const CpuMatrix& down = own(*args_.weights->down.front());
    const Share share(down.num_panels(), part, team_.num_threads());
    for (std::int64_t panel = share.begin; panel < share.end; ++panel) multiply_out(panel, part);
  });
}

// Counting sort by expert; the shared experts are a group of all rows behind the last.
void CpuExperts::sort_slots() {
  std::fill_n(first_slots_, num_experts_ + 1, 0);
  for (const std::int32_t expert : args_.experts) ++first_slots_[expert + 1];
  for (std::int64_t e = 0; e < num_experts_; ++e) first_slots_[e + 1] += first_slots_[e];
  for (std::int64_t i = 0; i < num_routed_; ++i) {
    const auto index = static_cast<std::size_t>(i);
    const std::int64_t slot = first_slots_[args_.experts[index]]++;
    rows_[slot] = i / args_.experts_per_token;
    weights_[slot] = args_.expert_weights[index];
  }
  for (std::int64_t e = num_experts_; e > 0; --e) first_slots_[e] = first_slots_[e - 1];
  first_slots_[0] = 0;
  for (std::int64_t slot = num_routed_; slot < num_slots_; ++slot) {
    rows_[slot] = slot - num_routed_;
    weights_[slot] = 1.0F;
  }
}

CpuExperts::Group CpuExperts::group(std::int64_t index) const {
  const ExpertWeights& weights = *args_.weights;
  if (index == num_experts_) {
    return {&own(*weights.shared_gate_up), &own(*weights.shared_down), num_routed_, num_rows_};
  }
  const auto expert = static_cast<std::size_t>(index);
  return {&own(*weights.gate_up[expert]), &own(*weights.down[expert]), first_slots_[index],
          first_slots_[index + 1] - first_slots_[index]};
}

std::int64_t CpuExperts::num_groups() const {
  return num_experts_ + (args_.weights->shared_down ? 1 : 0);
}

void CpuExperts::gather_rows(std::int64_t begin, std::int64_t end) {
  const std::int64_t bytes = args_.x.cols * 2;
  for (std::int64_t slot = begin; slot < end; ++slot) {
    std::memcpy(inputs_ + slot * bytes, args_.x.row(rows_[slot]), static_cast<std::size_t>(bytes));
  }
}

// Tiles of all groups, one after the other, are shared out evenly.
void CpuExperts::multiply_in(std::int32_t part) {
  std::int64_t num_tiles = 0;
  for (std::int64_t i = 0; i < num_groups(); ++i) {
    const Group g = group(i);
    num_tiles += TileWalk(*g.gate_up, g.num_slots).num_tiles();
  }
  const Share share(num_tiles, part, team_.num_threads());
  std::int64_t first_tile = 0;
  for (std::int64_t i = 0; i < num_groups() && first_tile < share.end; ++i) {
    const Group g = group(i);
    const TileWalk walk(*g.gate_up, g.num_slots);
    const std::int64_t begin = std::max(share.begin - first_tile, std::int64_t{0});
    const std::int64_t end = std::min(share.end - first_tile, walk.num_tiles());
    first_tile += walk.num_tiles();
    if (begin >= end) continue;
    const bool is_shared = i == num_experts_;
    const std::int64_t hidden = args_.x.cols;
    const ConstMatrixView input =
        is_shared ? args_.x
                  : ConstMatrixView{inputs_ + g.first_slot * hidden * 2, DType::kBFloat16,
                                    g.num_slots, hidden, hidden};
    walk.run(
        kernels_, input, begin, end,
        [&](const TileWalk::Tile& tile, TileArgs& args) {
          args.c = reinterpret_cast<float*>(gate_up_) +
                   (g.first_slot + tile.first_row) * 2 * widest_ + g.gate_up->first_row(tile.panel);
          args.c_stride = 2 * widest_;
        },
        [](const TileWalk::Tile&, const TileArgs&) {});
  }
}

void CpuExperts::activate(std::int64_t begin, std::int64_t end) {
  const auto gated = args_.activation == Activation::kSilu ? kernels_.silu_mul : kernels_.gelu_mul;
  const std::int64_t routed_width = args_.weights->down.front()->shape().cols;
  for (std::int64_t slot = begin; slot < end; ++slot) {
    const std::int64_t width = slot < num_routed_ ? routed_width : shared_width(*args_.weights);
    const float* gate = reinterpret_cast<const float*>(gate_up_) + slot * 2 * widest_;
    gated(gate, gate + width, width, reinterpret_cast<std::uint16_t*>(products_) + slot * widest_);
  }
}

void CpuExperts::multiply_out(std::int64_t panel, std::int32_t part) {
  const std::int64_t count = num_rows_ * num_leaves_ * kPanelWidth;
  float* sums = sums_ + part * count;
  std::fill_n(sums, count, 0.0F);
  for (std::int64_t i = 0; i < num_groups(); ++i) {
    const Group g = group(i);
    if (g.num_slots > 0) add_group(g, panel, sums);
  }
  combine(panel, sums);
}

void CpuExperts::add_group(const Group& g, std::int64_t panel, float* sums) {
  alignas(64) std::array<float, kTileRows * kPanelWidth> tile;
  TileState state;
  const std::int64_t leaf_pairs = g.down->shape().cols / num_leaves_ / 2;
  constexpr std::int64_t kFetchAhead = 16 << 10;
  for (std::int64_t first = 0; first < g.num_slots; first += kTileRows) {
    TileArgs args;
    args.a_stride_bytes = widest_ * 2;
    args.rows = std::min(kTileRows, g.num_slots - first);
    args.num_pairs = leaf_pairs;
    args.state = &state;
    args.c = tile.data();
    args.c_stride = kPanelWidth;
    args.width = g.down->width(panel);
    for (std::int64_t leaf = 0; leaf < num_leaves_; ++leaf) {
      const std::int64_t slot = g.first_slot + first;
      args.a = products_ + (slot * widest_ + leaf * leaf_pairs * 2) * 2;
      args.weights = g.down->panel(panel) + leaf * leaf_pairs * kPanelWidth * 4;
      args.fetch = args.weights + kFetchAhead;
      args.pairs_per_fetch = first == 0 ? 1 : leaf_pairs;
      kernels_.product_tile(args);
      for (std::int64_t r = 0; r < args.rows; ++r) {
        float* sum = sums + (rows_[slot + r] * num_leaves_ + leaf) * kPanelWidth;
        kernels_.add_scaled(sum, tile.data() + r * kPanelWidth, weights_[slot + r], args.width);
      }
    }
  }
}

void CpuExperts::combine(std::int64_t panel, float* sums) {
  const CpuMatrix& down = own(*args_.weights->down.front());
  const std::int64_t width = down.width(panel);
  for (std::int64_t row = 0; row < num_rows_; ++row) {
    float* leaves = sums + row * num_leaves_ * kPanelWidth;
    for_each_branch(num_leaves_, [&](std::int32_t left, std::int32_t right) {
      kernels_.add(leaves + left * kPanelWidth, leaves + right * kPanelWidth, width);
    });
    std::copy_n(leaves, width, static_cast<float*>(args_.out.row(row)) + down.first_row(panel));
  }
}

}  // namespace tessera::kernels

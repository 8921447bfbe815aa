#include "kernels/cpu/cpu_experts.h"

#include <algorithm>
#include <cstring>
#include <optional>

#include "common/base/error.h"
#include "kernels/cpu/tile_walk.h"

namespace tessera::kernels {
namespace {

constexpr std::int64_t kAlignment = 64;
constexpr std::int64_t kMaxBlocks = 16;                         // of a piece
constexpr std::int64_t kMaxPieceRows = kMaxBlocks * kTileRows;  // their inputs stay in L2
constexpr std::int64_t kPairBytes = kPanelWidth * 4;
constexpr std::int64_t kGateWidth = kPanelWidth / 2;  // outputs of gate in a panel

const CpuMatrix& own(const PackedMatrix& matrix) {
  const auto* result = dynamic_cast<const CpuMatrix*>(&matrix);
  TESSERA_REQUIRE(result != nullptr, "packed matrix of another back end");
  return *result;
}

std::int64_t shared_width(const ExpertWeights& weights) {
  return weights.shared_down ? weights.shared_down->shape().cols : 0;
}

std::int64_t num_pieces(std::int64_t num_rows) {
  return round_up(num_rows, kMaxPieceRows) / kMaxPieceRows;
}

// Enough units for every thread to find one, as few passes over the rows as that allows.
std::int32_t count_leaf_shares(const ExpertWeights& weights, std::int32_t num_threads) {
  constexpr std::int64_t kUnitsPerThread = 4;
  const std::int64_t num_panels = own(*weights.down).panels_per_leaf();
  std::int32_t shares = 1;
  while (shares < weights.num_leaves && shares * num_panels < kUnitsPerThread * num_threads) {
    shares *= 2;
  }
  return shares;
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

/// What a row block fetches while it is multiplied: its part of the weights that come next. A
/// single block leaves its own stream to the processor, which is faster, and fetches the head of
/// the next.
struct Fetch {
  const std::byte* from = nullptr;
  std::int64_t pairs_per_fetch = 1;  ///< 256 bytes each time

  Fetch(const std::byte* own,
        const std::byte* next,
        std::int64_t num_pairs,
        std::int64_t block,
        std::int64_t num_blocks) {
    constexpr std::int64_t kHeadFetches = 16;
    if (next == nullptr) {
      from = own;  // nothing but what is read anyway
      pairs_per_fetch = std::max<std::int64_t>(1, num_pairs);
    } else if (num_blocks == 1) {
      from = next;
      pairs_per_fetch = std::max<std::int64_t>(1, num_pairs / kHeadFetches);
    } else {
      from = next + num_pairs * block / num_blocks * kPairBytes;
      pairs_per_fetch = num_blocks;
    }
  }
};

/// Keeps a piece of work back until the next one is known, parts of which it fetches meanwhile.
template <typename Piece, typename Run>
class Lookahead {
 public:
  explicit Lookahead(const Run& run) : run_(run) {}

  void push(const Piece& piece) {
    if (held_) run_(*held_, &piece);
    held_ = piece;
  }
  void flush() {
    if (held_) run_(*held_, nullptr);
    held_.reset();
  }

 private:
  const Run& run_;
  std::optional<Piece> held_;
};

}  // namespace

/// Up to kMaxPieceRows slots of one expert and the panel that they are multiplied with.
struct CpuExperts::Piece {
  const std::byte* inputs = nullptr;  ///< bf16
  std::int64_t input_bytes = 0;       ///< From row to row.
  std::int64_t first_slot = 0;        ///< Of the rows.
  std::int64_t num_rows = 0;
  const std::byte* weights = nullptr;
  std::int64_t num_pairs = 0;

  std::int64_t num_blocks() const { return round_up(num_rows, kTileRows) / kTileRows; }
  std::int64_t first_row(std::int64_t block) const { return num_rows * block / num_blocks(); }
};

const std::byte* CpuExperts::weights_of(const Piece* piece) {
  return piece == nullptr ? nullptr : piece->weights;
}

struct CpuExperts::InPiece : Piece {
  std::int64_t first_column = 0;  ///< Of the products.
  std::int64_t num_columns = 0;
};

struct CpuExperts::OutPiece : Piece {
  std::int32_t num_leaves = 0;  ///< Of num_pairs each.
  float* sums = nullptr;        ///< Of row 0, the first leaf.

  /// Part `part` of `parts` of the inputs, which wait in a farther cache, on their way to L2.
  void fetch_inputs(std::int64_t part, std::int64_t parts) const {
    for (std::int64_t row = num_rows * part / parts; row < num_rows * (part + 1) / parts; ++row) {
      const std::byte* input = inputs + row * input_bytes;
      for (std::int64_t i = 0; i < num_pairs * num_leaves * 4; i += 64) {
        __builtin_prefetch(input + i, /*write=*/0, /*locality=*/2);
      }
    }
  }
};

CpuExperts::CpuExperts(const CpuKernels& kernels, ThreadTeam& team, const MoeArgs& args)
    : kernels_(kernels),
      team_(team),
      args_(args),
      weights_(*args.weights),
      num_rows_(args.x.rows),
      widest_(std::max(weights_.down->shape().cols, shared_width(weights_))),
      num_leaf_shares_(count_leaf_shares(weights_, team.num_threads())),
      leaves_per_share_(weights_.num_leaves / num_leaf_shares_) {
  const std::int64_t needed =
      workspace_bytes(weights_, args.experts_per_token, num_rows_, team.num_threads());
  TESSERA_REQUIRE(static_cast<std::int64_t>(args.workspace.size()) >= needed,
                  "moe_experts: workspace of ", args.workspace.size(), " bytes, needs ", needed);
  const std::int64_t max_routed = num_rows_ * args.experts_per_token;
  const std::int64_t max_slots = max_routed + (weights_.shared_down ? num_rows_ : 0);
  Layout layout(aligned(args.workspace));
  first_slots_ = layout.take<std::int64_t>(weights_.num_local() + 1);
  first_units_ = layout.take<std::int64_t>(weights_.num_local() + 2);
  rows_ = layout.take<std::int64_t>(max_slots);
  slot_weights_ = layout.take<float>(max_slots);
  inputs_ = layout.take<std::byte>(max_routed * args.x.cols * 2);
  products_ = layout.take<std::byte>(max_slots * widest_ * 2);
  sums_ = layout.take<float>(team.num_threads() * num_rows_ * leaves_per_share_ * kPanelWidth);
  share_sums_ =
      layout.take<float>(num_leaf_shares_ == 1 ? 0 : num_leaf_shares_ * num_rows_ * args.x.cols);
}

std::int64_t CpuExperts::workspace_bytes(const ExpertWeights& weights,
                                         std::int32_t experts_per_token,
                                         std::int64_t num_rows,
                                         std::int32_t num_threads) {
  const std::int64_t hidden = weights.gate_up->shape().cols;
  const std::int64_t routed = num_rows * experts_per_token;
  const std::int64_t slots = routed + (weights.shared_down ? num_rows : 0);
  const std::int64_t widest = std::max(weights.down->shape().cols, shared_width(weights));
  const std::int32_t shares = count_leaf_shares(weights, num_threads);
  Layout layout(nullptr);
  layout.take<std::int64_t>(weights.num_local() + 1);
  layout.take<std::int64_t>(weights.num_local() + 2);
  layout.take<std::int64_t>(slots);
  layout.take<float>(slots);
  layout.take<std::byte>(routed * hidden * 2);
  layout.take<std::byte>(slots * widest * 2);
  layout.take<float>(num_threads * num_rows * (weights.num_leaves / shares) * kPanelWidth);
  layout.take<float>(shares == 1 ? 0 : shares * num_rows * hidden);
  return layout.used() + kAlignment;
}

void CpuExperts::run() {
  sort_slots();
  count_units();
  team_.run([&](std::int32_t part) {
    const Share share(num_routed_, part, team_.num_threads());
    gather_rows(share.begin, share.end);
  });
  next_unit_ = 0;
  team_.run([&](std::int32_t) { multiply_in(); });
  next_unit_ = 0;
  team_.run([&](std::int32_t part) { multiply_out(part); });
  if (num_leaf_shares_ == 1) return;
  team_.run([&](std::int32_t part) {
    const Share share(num_rows_, part, team_.num_threads());
    combine_shares(share.begin, share.end);
  });
}

// Counting sort by expert.
void CpuExperts::sort_slots() {
  const std::int64_t num_experts = weights_.num_local();
  const auto local = [&](std::int32_t expert) -> std::int64_t {
    const std::int64_t index = expert - weights_.first_expert;
    return index >= 0 && index < num_experts ? index : -1;
  };
  std::fill_n(first_slots_, num_experts + 1, 0);
  for (const std::int32_t expert : args_.experts) {
    if (local(expert) >= 0) ++first_slots_[local(expert) + 1];
  }
  for (std::int64_t e = 0; e < num_experts; ++e) first_slots_[e + 1] += first_slots_[e];
  num_routed_ = first_slots_[num_experts];
  num_slots_ = num_routed_ + (weights_.shared_down ? num_rows_ : 0);
  for (std::size_t i = 0; i < args_.experts.size(); ++i) {
    const std::int64_t expert = local(args_.experts[i]);
    if (expert < 0) continue;
    const std::int64_t slot = first_slots_[expert]++;
    rows_[slot] = static_cast<std::int64_t>(i) / args_.experts_per_token;
    slot_weights_[slot] = args_.expert_weights[i];
  }
  for (std::int64_t e = num_experts; e > 0; --e) first_slots_[e] = first_slots_[e - 1];
  first_slots_[0] = 0;
  for (std::int64_t slot = num_routed_; slot < num_slots_; ++slot) {
    rows_[slot] = slot - num_routed_;
    slot_weights_[slot] = 1.0F;
  }
}

void CpuExperts::count_units() {
  first_units_[0] = 0;
  for (std::int64_t i = 0; i < num_groups(); ++i) {
    const Group g = group(i);
    first_units_[i + 1] = first_units_[i] + g.gate_up->panels_per_leaf() * num_pieces(g.num_slots);
  }
}

CpuExperts::Group CpuExperts::group(std::int64_t index) const {
  const std::int64_t num_experts = weights_.num_local();
  if (index == num_experts) {
    return {
        &own(*weights_.shared_gate_up), &own(*weights_.shared_down), 0, num_routed_, num_rows_, 0};
  }
  const auto expert = static_cast<std::int32_t>(index);
  return {&own(*weights_.gate_up),
          &own(*weights_.down),
          index,
          first_slots_[index],
          first_slots_[index + 1] - first_slots_[index],
          weights_.is_by_expert() ? weights_.leaf_of(expert) : 0};
}

std::int64_t CpuExperts::num_groups() const {
  return weights_.num_local() + (weights_.shared_down ? 1 : 0);
}

void CpuExperts::gather_rows(std::int64_t begin, std::int64_t end) {
  const std::int64_t bytes = args_.x.cols * 2;
  for (std::int64_t slot = begin; slot < end; ++slot) {
    std::memcpy(inputs_ + slot * bytes, args_.x.row(rows_[slot]), static_cast<std::size_t>(bytes));
  }
}

void CpuExperts::multiply_in() {
  const auto run = [&](const InPiece& piece, const InPiece* next) { run_piece(piece, next); };
  Lookahead<InPiece, decltype(run)> pieces(run);
  const std::int64_t num_units = first_units_[num_groups()];
  std::int64_t group_index = 0;
  while (true) {
    const std::int64_t unit = next_unit_.fetch_add(1, std::memory_order_relaxed);
    if (unit >= num_units) break;
    pieces.push(in_piece(unit, group_index));
  }
  pieces.flush();
}

/// @param group_index  of an earlier unit of this thread; becomes that of this one
CpuExperts::InPiece CpuExperts::in_piece(std::int64_t unit, std::int64_t& group_index) const {
  while (unit >= first_units_[group_index + 1]) ++group_index;
  const Group g = group(group_index);
  const std::int64_t count = num_pieces(g.num_slots);
  const std::int64_t panel = (unit - first_units_[group_index]) / count;
  const std::int64_t index = (unit - first_units_[group_index]) % count;
  const bool is_shared = g.first_slot == num_routed_ && group_index == weights_.num_local();
  InPiece piece;
  const std::int64_t first = g.num_slots * index / count;
  piece.first_slot = g.first_slot + first;
  piece.num_rows = g.num_slots * (index + 1) / count - first;
  if (is_shared) {
    piece.inputs = static_cast<const std::byte*>(args_.x.row(first));
    piece.input_bytes = args_.x.row_stride * 2;
  } else {
    piece.input_bytes = args_.x.cols * 2;
    piece.inputs = inputs_ + piece.first_slot * piece.input_bytes;
  }
  piece.weights = g.in_panel(panel);
  piece.num_pairs = args_.x.cols / 2;
  piece.first_column = panel * kGateWidth;
  piece.num_columns = std::min(kGateWidth, g.width() - piece.first_column);
  return piece;
}

// Row blocks go along K together, in steps of weights that stay in the caches (tile_walk.h).
void CpuExperts::run_piece(const InPiece& piece, const InPiece* next) const {
  alignas(64) float gate_up[kMaxPieceRows * kPanelWidth];
  TileState states[kMaxBlocks];
  const std::int64_t num_blocks = piece.num_blocks();
  const std::int64_t step_pairs = num_blocks <= 8 ? 256 : 512;
  const std::int64_t num_steps =
      num_blocks == 1 ? 1 : round_up(piece.num_pairs, step_pairs) / step_pairs;
  for (std::int64_t step = 0; step < num_steps; ++step) {
    const std::int64_t pair = piece.num_pairs * step / num_steps;
    for (std::int64_t block = 0; block < num_blocks; ++block) {
      const std::int64_t row = piece.first_row(block);
      TileArgs args;
      args.a = piece.inputs + row * piece.input_bytes + pair * 4;
      args.a_stride_bytes = piece.input_bytes;
      args.rows = piece.first_row(block + 1) - row;
      args.weights = piece.weights + pair * kPairBytes;
      args.num_pairs = piece.num_pairs * (step + 1) / num_steps - pair;
      args.begins_leaf = step == 0;
      args.ends_leaf = args.ends_product = step + 1 == num_steps;
      args.state = &states[block];
      args.c = gate_up + row * kPanelWidth;
      args.c_stride = kPanelWidth;
      args.width = kPanelWidth;
      const std::byte* after =
          args.ends_product ? weights_of(next) : args.weights + args.num_pairs * kPairBytes;
      const Fetch fetch(args.weights, after, args.num_pairs, block, num_blocks);
      args.fetch = fetch.from;
      args.pairs_per_fetch = fetch.pairs_per_fetch;
      kernels_.product_tile(args);
    }
  }
  const auto gated = args_.activation == Activation::kSilu ? kernels_.silu_mul : kernels_.gelu_mul;
  for (std::int64_t row = 0; row < piece.num_rows; ++row) {
    const float* gate = gate_up + row * kPanelWidth;
    gated(gate, gate + kGateWidth, piece.num_columns,
          reinterpret_cast<std::uint16_t*>(products_) + (piece.first_slot + row) * widest_ +
              piece.first_column);
  }
}

void CpuExperts::multiply_out(std::int32_t part) {
  const std::int64_t count = num_rows_ * leaves_per_share_ * kPanelWidth;
  float* sums = sums_ + part * count;
  const std::int64_t num_units = own(*weights_.down).panels_per_leaf() * num_leaf_shares_;
  while (true) {
    const std::int64_t unit = next_unit_.fetch_add(1, std::memory_order_relaxed);
    if (unit >= num_units) break;
    const std::int64_t panel = unit / num_leaf_shares_;
    const auto share = static_cast<std::int32_t>(unit % num_leaf_shares_);
    std::fill_n(sums, count, 0.0F);
    add_groups(panel, share * leaves_per_share_, sums);
    combine_leaves(panel, share, sums);
  }
}

// Adds to leaves [first_leaf, first_leaf + leaves_per_share_) of all rows.
void CpuExperts::add_groups(std::int64_t panel, std::int32_t first_leaf, float* sums) const {
  const auto run = [&](const OutPiece& piece, const OutPiece* next) { run_piece(piece, next); };
  Lookahead<OutPiece, decltype(run)> pieces(run);
  const std::int32_t last_leaf = first_leaf + leaves_per_share_;
  for (std::int64_t i = 0; i < num_groups(); ++i) {
    const Group g = group(i);
    const std::int32_t begin = std::max(first_leaf, g.first_leaf);
    const std::int32_t end = std::min(last_leaf, g.first_leaf + g.down->shape().k_leaves);
    if (begin >= end) continue;
    OutPiece piece;
    piece.num_leaves = end - begin;
    piece.num_pairs = g.width() / g.down->shape().k_leaves / 2;
    piece.input_bytes = widest_ * 2;
    const std::int64_t first_pair = (begin - g.first_leaf) * piece.num_pairs;
    piece.weights = g.out_panel(panel) + first_pair * kPairBytes;
    piece.sums = sums + (begin - first_leaf) * kPanelWidth;
    const std::int64_t count = num_pieces(g.num_slots);
    for (std::int64_t index = 0; index < count; ++index) {
      const std::int64_t first = g.num_slots * index / count;
      piece.first_slot = g.first_slot + first;
      piece.num_rows = g.num_slots * (index + 1) / count - first;
      piece.inputs = products_ + piece.first_slot * piece.input_bytes + first_pair * 4;
      pieces.push(piece);
    }
  }
  pieces.flush();
}

void CpuExperts::run_piece(const OutPiece& piece, const OutPiece* next) const {
  const std::int64_t num_blocks = piece.num_blocks();
  for (std::int64_t block = 0; block < num_blocks; ++block) {
    const std::int64_t row = piece.first_row(block);
    const std::int64_t slot = piece.first_slot + row;
    AddTileArgs args;
    args.a = piece.inputs + row * piece.input_bytes;
    args.a_stride_bytes = piece.input_bytes;
    args.rows = piece.first_row(block + 1) - row;
    args.weights = piece.weights;
    args.num_pairs = piece.num_pairs;
    args.num_leaves = piece.num_leaves;
    float* sums[kTileRows];
    for (std::int64_t r = 0; r < args.rows; ++r) {
      sums[r] = piece.sums + rows_[slot + r] * leaves_per_share_ * kPanelWidth;
    }
    args.sums = sums;
    args.scales = slot_weights_ + slot;
    const Fetch fetch(piece.weights, weights_of(next), piece.num_pairs * piece.num_leaves, block,
                      num_blocks);
    args.fetch = fetch.from;
    args.pairs_per_fetch = fetch.pairs_per_fetch;
    if (next != nullptr) next->fetch_inputs(block, num_blocks);
    kernels_.add_product_tile(args);
  }
}

void CpuExperts::combine_leaves(std::int64_t panel, std::int32_t share, float* sums) const {
  const CpuMatrix& down = own(*weights_.down);
  const std::int64_t width = down.width(panel);
  const std::int64_t column = down.first_row(panel);
  for (std::int64_t row = 0; row < num_rows_; ++row) {
    float* leaves = sums + row * leaves_per_share_ * kPanelWidth;
    for_each_branch(leaves_per_share_, [&](std::int32_t left, std::int32_t right) {
      kernels_.add(leaves + left * kPanelWidth, leaves + right * kPanelWidth, width);
    });
    float* out = num_leaf_shares_ == 1 ? static_cast<float*>(args_.out.row(row))
                                       : share_sums_ + (share * num_rows_ + row) * args_.out.cols;
    std::copy_n(leaves, width, out + column);
  }
}

void CpuExperts::combine_shares(std::int64_t begin, std::int64_t end) const {
  const std::int64_t cols = args_.out.cols;
  for (std::int64_t row = begin; row < end; ++row) {
    const auto sums = [&](std::int32_t share) {
      return share_sums_ + (share * num_rows_ + row) * cols;
    };
    for_each_branch(num_leaf_shares_, [&](std::int32_t left, std::int32_t right) {
      kernels_.add(sums(left), sums(right), cols);
    });
    std::copy_n(sums(0), cols, static_cast<float*>(args_.out.row(row)));
  }
}

}  // namespace tessera::kernels

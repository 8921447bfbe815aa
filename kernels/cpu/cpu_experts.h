#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/cpu/cpu_kernels.h"
#include "kernels/cpu/cpu_matrix.h"
#include "kernels/cpu/thread_team.h"
#include "kernels/moe.h"

namespace tessera::kernels {

/// The experts of a layer as products grouped by expert: every matrix of a chosen expert is read
/// once, whatever number of rows chose it.
///
/// 1. rows are sorted by expert, their activations gathered: slots; the shared experts are a group
///    of all rows behind the routed ones;
/// 2. act(gate) * up of all slots: units of work are a panel and up to 96 slots of its expert;
/// 3. the outputs: units are 64 columns and a share of the leaves; for every expert, ascending, the
///    leaves of its products are added to those of the row, then the leaves of a row are combined;
/// 4. with more threads than columns, the shares of the leaves are combined.
///
/// Threads take units as they become free. Bits depend neither on who takes what nor on the other
/// rows: a unit adds in an order of its own.
class CpuExperts {
 public:
  CpuExperts(const CpuKernels& kernels, ThreadTeam& team, const MoeArgs& args);

  static std::int64_t workspace_bytes(const ExpertWeights& weights,
                                      std::int32_t experts_per_token,
                                      std::int64_t num_rows,
                                      std::int32_t num_threads);

  void run();

 private:
  /// Slots of one expert, or of the shared ones.
  struct Group {
    const CpuMatrix* gate_up = nullptr;
    const CpuMatrix* down = nullptr;
    std::int64_t matrix = 0;  ///< Which one of those stacked in them.
    std::int64_t first_slot = 0;
    std::int64_t num_slots = 0;
    std::int32_t first_leaf = 0;  ///< Of a row, where leaf 0 of `down` goes.

    std::int64_t width() const { return down->shape().cols; }
    const std::byte* in_panel(std::int64_t panel) const {
      return gate_up->panel(matrix * gate_up->panels_per_leaf() + panel);
    }
    const std::byte* out_panel(std::int64_t panel) const {
      return down->panel(matrix * down->panels_per_leaf() + panel);
    }
  };
  struct Piece;
  struct InPiece;
  struct OutPiece;
  static const std::byte* weights_of(const Piece* piece);  ///< Null of null.

  Group group(std::int64_t index) const;
  std::int64_t num_groups() const;
  void sort_slots();
  void count_units();
  void gather_rows(std::int64_t begin, std::int64_t end);

  void multiply_in();
  InPiece in_piece(std::int64_t unit, std::int64_t& group_index) const;
  void run_piece(const InPiece& piece, const InPiece* next) const;
  void multiply_out(std::int32_t part);
  void add_groups(std::int64_t panel, std::int32_t first_leaf, float* sums) const;
  void run_piece(const OutPiece& piece, const OutPiece* next) const;
  void combine_leaves(std::int64_t panel, std::int32_t share, float* sums) const;
  void combine_shares(std::int64_t begin, std::int64_t end) const;

  const CpuKernels& kernels_;
  ThreadTeam& team_;
  const MoeArgs& args_;
  const ExpertWeights& weights_;
  std::int64_t num_rows_;
  std::int64_t num_routed_ = 0;  ///< Slots of routed experts that are on this rank.
  std::int64_t num_slots_ = 0;
  std::int64_t widest_;           ///< Of the intermediate widths.
  std::int32_t num_leaf_shares_;  ///< That the leaves of a row are divided into.
  std::int32_t leaves_per_share_;
  std::atomic<std::int64_t> next_unit_{0};

  std::int64_t* first_slots_;  ///< [experts + 1]
  std::int64_t* first_units_;  ///< [groups + 1]
  std::int64_t* rows_;         ///< [slots]
  float* slot_weights_;        ///< [slots]
  std::byte* inputs_;          ///< bf16 [slots, hidden]
  std::byte* products_;        ///< bf16 [slots, widest]
  float* sums_;                ///< [threads][rows, leaves of a share, 64]
  float* share_sums_;          ///< [shares][rows, hidden]; unused with one share
};

}  // namespace tessera::kernels

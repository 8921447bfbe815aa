#pragma once

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
/// 1. rows are sorted by expert, their activations gathered: slots;
/// 2. gate and up of all slots, then act(gate) * up;
/// 3. panels of the output, 64 columns at a time: for every expert, ascending, the leaves of its
///    products are added to those of the row; then the leaves of a row are combined.
///
/// Bits do not depend on the number of threads, nor on the other rows.
class CpuExperts {
 public:
  CpuExperts(const CpuKernels& kernels, ThreadTeam& team, const MoeArgs& args);

  static std::int64_t workspace_bytes(const ExpertWeights& weights,
                                      std::int32_t experts_per_token,
                                      std::int64_t num_rows,
                                      std::int32_t num_threads);

  void run();

 private:
  struct Group {
    const CpuMatrix* gate_up = nullptr;
    const CpuMatrix* down = nullptr;
    std::int64_t first_slot = 0;
    std::int64_t num_slots = 0;
  };

  Group group(std::int64_t index) const;  ///< Of an expert, or behind them the shared ones.
  std::int64_t num_groups() const;
  void sort_slots();
  void gather_rows(std::int64_t begin, std::int64_t end);
  void multiply_in(std::int32_t part);
  void activate(std::int64_t begin, std::int64_t end);
  void multiply_out(std::int64_t panel, std::int32_t part);
  void add_group(const Group& group, std::int64_t panel, float* sums);
  void combine(std::int64_t panel, float* sums);

  const CpuKernels& kernels_;
  ThreadTeam& team_;
  const MoeArgs& args_;
  std::int32_t num_leaves_;
  std::int64_t num_rows_;
  std::int64_t num_experts_;
  std::int64_t num_slots_;  ///< Routed ones, then one per row for the shared experts.
  std::int64_t num_routed_;
  std::int64_t widest_;  ///< Of the intermediate widths.

  std::int64_t* first_slots_;  ///< [experts + 1]
  std::int64_t* rows_;         ///< [slots]
  float* weights_;             ///< [slots]
  std::byte* inputs_;          ///< bf16 [slots, hidden]
  std::byte* gate_up_;         ///< fp32 [slots, 2 widest]
  std::byte* products_;        ///< bf16 [slots, widest]
  float* sums_;                ///< [threads][rows, leaves, 64]
};

}  // namespace tessera::kernels

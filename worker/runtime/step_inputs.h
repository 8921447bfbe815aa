#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/decoding/step_plan.h"
#include "common/model_spec/model_spec.h"
#include "worker/kv/rank_page_tables.h"
#include "worker/model/decoder.h"
#include "worker/runtime/rank_executor.h"

namespace tessera {

/// Measures of a step that are taken the same way, and where they belong. Three equally long lists.
struct MeasuredRows {
  std::span<Measure> measures;
  std::span<std::int64_t> rows;      ///< Row of the batch that is read.
  std::vector<std::size_t> results;  ///< Index among all measures of the plan, in its order.

  std::size_t size() const { return results.size(); }
};

/// A canvas of a step: rows of the batch, all measured, in one piece.
struct CanvasRows {
  const SequenceSpan* sequence = nullptr;  ///< Of the plan.
  std::int64_t first_row = 0;              ///< Of the batch.
  std::size_t first_result = 0;            ///< Index of the first measure among all of the plan.
};

/// A step plan, checked and laid out as the operations want it, in the step arrays of the back end.
/// Memory is reserved once and used again in every step.
class StepInputs {
 public:
  StepInputs(const ModelSpec& spec, const RankConfig& config, kernels::Backend& backend);

  /// Leaves the arrays to be sent (Backend::send_step_arrays).
  /// @param plan  Must outlive the use of batch().
  /// @param tables  After apply(plan).
  /// @throws Error{kInternal} naming request and rule if the plan breaks a rule of Span, exceeds
  /// what the rank is configured for, reads or stores beyond a page table, or asks for what this
  /// model family cannot do.
  void build(const StepPlan& plan, const RankPageTables& tables);

  /// Canvases are the last rows, whatever their place in the plan; conditioning is left empty.
  RowBatch batch() const;
  std::span<const CanvasRows> canvases() const { return canvases_; }
  const MeasuredRows& fused() const { return fused_; }        ///< Measured with the LM head.
  const MeasuredRows& filtered() const { return filtered_; }  ///< Need their logits stored.
  std::size_t num_measures() const { return num_measures_; }

  /// One more than the largest position a row may have.
  static std::int32_t num_positions(const RankConfig& config);

 private:
  void clear();
  void take_arrays(std::int64_t num_rows, std::int64_t num_fused, std::int64_t num_filtered);
  void check(const SequenceSpan& sequence, std::span<const PageId> table) const;
  void check_tokens(const SequenceSpan& sequence) const;
  void check_measures(const SequenceSpan& sequence) const;
  void check_canvas(const SequenceSpan& sequence) const;
  void add_spans(const StepPlan& plan, const RankPageTables& tables, bool canvases);
  void add(const SequenceSpan& sequence, std::span<const PageId> table);
  void add_measures(const Span& span, std::int64_t first_row, std::size_t first_result);

  const ModelSpec& spec_;
  RankConfig config_;
  kernels::Backend& backend_;
  std::int64_t num_rows_ = 0;  // laid out so far
  std::span<TokenId> ids_;
  std::span<Position> positions_;
  std::span<std::int64_t> slots_;
  std::vector<RecipeEntry> recipes_;
  std::vector<kernels::AttentionSpan> spans_;
  std::vector<RequestId> requests_;  // of the spans, sorted
  MeasuredRows fused_;
  MeasuredRows filtered_;
  std::vector<CanvasRows> canvases_;
  std::int64_t first_canvas_row_ = 0;
  std::size_t num_measures_ = 0;
};

}  // namespace tessera

#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/decoding/step_plan.h"
#include "common/model_spec/model_spec.h"
#include "worker/kv/rank_page_tables.h"
#include "worker/model/decoder.h"
#include "worker/runtime/rank_executor.h"
#include "worker/runtime/step_shapes.h"

namespace tessera {

/// Measures of a step that are taken the same way, and where they belong.
struct MeasuredRows {
  std::span<Measure> measures;       ///< [size(), then padding: greedy ones of row 0]
  std::span<std::int64_t> rows;      ///< Row of the batch that is read, likewise.
  std::vector<std::size_t> results;  ///< [size()] Index among all measures of the plan.

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
  /// @param pads  Steps are padded to the shapes of StepShapes: rows of token 0 at position 0 that
  ///              belong to no sequence and are stored nowhere.
  StepInputs(const ModelSpec& spec, const RankConfig& config, kernels::Backend& backend, bool pads);

  /// Most bytes of the step arrays that build() takes.
  static std::int64_t array_bytes(const RankConfig& config);

  /// Leaves the arrays to be sent (Backend::send_step_arrays), behind what else goes with them.
  /// @param plan  Must outlive the use of batch().
  /// @param tables  After apply(plan).
  /// @throws Error{kInternal} naming request and rule if the plan breaks a rule of Span, exceeds
  /// what the rank is configured for, reads or stores beyond a page table, or asks for what this
  /// model family cannot do.
  void build(const StepPlan& plan, const RankPageTables& tables);

  /// A step of nothing but padding, with `num_filtered` measures that need their logits.
  void build_padding(const StepShape& shape, std::int64_t num_filtered);

  /// Canvases are the last rows, whatever their place in the plan; conditioning is left empty.
  RowBatch batch() const;
  std::span<const CanvasRows> canvases() const { return canvases_; }
  const MeasuredRows& fused() const { return fused_; }        ///< Measured with the LM head.
  const MeasuredRows& filtered() const { return filtered_; }  ///< Need their logits stored.
  std::size_t num_measures() const { return num_measures_; }
  std::int64_t num_rows() const { return num_rows_; }  ///< Without padding.

  /// What the step was padded to; none: it was not.
  const std::optional<StepShape>& shape() const { return shape_; }
  const std::optional<StepShapes>& shapes() const { return shapes_; }

  /// One more than the largest position a row may have.
  static std::int32_t num_positions(const RankConfig& config);

 private:
  void clear();
  void take_arrays(const StepShape& shape, std::int64_t num_filtered);
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
  std::optional<StepShapes> shapes_;
  std::optional<StepShape> shape_;
  std::int64_t num_rows_ = 0;  // laid out so far
  std::span<TokenId> ids_;
  std::span<Position> positions_;
  std::span<std::int64_t> slots_;
  std::vector<RecipeEntry> recipes_;
  std::vector<kernels::AttentionSpan> spans_;
  std::vector<RequestId> requests_;  // of the spans, sorted
  MeasuredRows fused_;
  MeasuredRows filtered_;
  std::vector<Measure> filtered_measures_;
  std::vector<std::int64_t> filtered_rows_;
  std::vector<CanvasRows> canvases_;
  std::int64_t first_canvas_row_ = 0;
  std::size_t num_measures_ = 0;
};

}  // namespace tessera

#include "worker/runtime/step_inputs.h"

#include <algorithm>
#include <iterator>
#include <numeric>

#include "common/base/error.h"
#include "common/tensor/padding.h"
#include "kernels/filtered_measure.h"

namespace tessera {
namespace {

bool is_canvas(const Span& span) {
  return !span.measures.empty() && span.measures.front().kind == MeasureKind::kCanvas;
}

}  // namespace

StepInputs::StepInputs(const ModelSpec& spec,
                       const RankConfig& config,
                       kernels::Backend& backend,
                       bool pads)
    : spec_(spec), config_(config), backend_(backend) {
  if (pads) shapes_.emplace(config.max_step_rows);
  const auto max_rows = static_cast<std::size_t>(config.max_step_rows);
  recipes_.reserve(max_rows);
  spans_.reserve(static_cast<std::size_t>(config.max_sequences));
  requests_.reserve(static_cast<std::size_t>(config.max_sequences));
  fused_.results.reserve(max_rows);
  filtered_.results.reserve(max_rows);
  filtered_measures_.reserve(max_rows);
  filtered_rows_.reserve(max_rows);
  canvases_.reserve(static_cast<std::size_t>(config.max_sequences));
}

std::int64_t StepInputs::array_bytes(const RankConfig& config) {
  using kernels::StepArrays;
  const std::int64_t rows = config.max_step_rows;
  return StepArrays::bytes_of<TokenId>(rows) + StepArrays::bytes_of<Position>(rows) +
         StepArrays::bytes_of<Measure>(rows) + 2 * StepArrays::bytes_of<std::int64_t>(rows);
}

// The last block of the longest sequence may reach beyond its end, and divides the page.
std::int32_t StepInputs::num_positions(const RankConfig& config) {
  return static_cast<std::int32_t>(round_up(config.max_model_len, config.page_size));
}

void StepInputs::clear() {
  num_rows_ = 0;
  recipes_.clear();
  spans_.clear();
  requests_.clear();
  fused_.results.clear();
  filtered_.results.clear();
  canvases_.clear();
}

// All rows and measures are padding at first.
void StepInputs::take_arrays(const StepShape& shape, std::int64_t num_filtered) {
  kernels::StepArrays& arrays = backend_.begin_step_arrays();
  ids_ = arrays.take<TokenId>(shape.rows);
  positions_ = arrays.take<Position>(shape.rows);
  slots_ = arrays.take<std::int64_t>(shape.rows);
  fused_.measures = arrays.take<Measure>(shape.measured);
  fused_.rows = arrays.take<std::int64_t>(shape.measured);
  std::ranges::fill(ids_, 0);
  std::ranges::fill(positions_, 0);
  std::ranges::fill(slots_, -1);
  std::ranges::fill(fused_.measures, Measure{});
  std::ranges::fill(fused_.rows, 0);
  // Not among the step's arrays, whose places must not depend on their number.
  filtered_measures_.resize(static_cast<std::size_t>(num_filtered));
  filtered_rows_.resize(static_cast<std::size_t>(num_filtered));
  filtered_.measures = filtered_measures_;
  filtered_.rows = filtered_rows_;
}

void StepInputs::build(const StepPlan& plan, const RankPageTables& tables) {
  clear();
  std::int64_t num_rows = 0;
  std::int64_t num_filtered = 0;
  std::int64_t num_fused = 0;
  num_measures_ = 0;
  for (const SequenceSpan& sequence : plan.spans) {
    check(sequence, tables.table(sequence.request));
    num_rows += sequence.span.num_rows();
    num_measures_ += sequence.span.measures.size();
    if (!is_canvas(sequence.span)) {
      const auto filtered = std::ranges::count_if(sequence.span.measures, kernels::needs_logits);
      num_filtered += filtered;
      num_fused += std::ssize(sequence.span.measures) - filtered;
    }
    requests_.push_back(sequence.request);
  }
  TESSERA_CHECK(num_rows <= config_.max_step_rows, "a step of ", num_rows, " rows; at most ",
                config_.max_step_rows, " are agreed on");
  TESSERA_CHECK(num_measures_ <= static_cast<std::size_t>(config_.max_step_rows), "a step of ",
                num_measures_, " measures; at most ", config_.max_step_rows, " are agreed on");
  std::sort(requests_.begin(), requests_.end());
  const auto twice = std::adjacent_find(requests_.begin(), requests_.end());
  TESSERA_CHECK(twice == requests_.end(), "request ", *twice, " twice in a step");
  shape_ = shapes_ ? shapes_->shape_of(num_rows, num_fused) : std::nullopt;
  take_arrays(shape_.value_or(StepShape{num_rows, num_fused}), num_filtered);
  add_spans(plan, tables, /*canvases=*/false);
  first_canvas_row_ = num_rows_;
  add_spans(plan, tables, /*canvases=*/true);
}

void StepInputs::build_padding(const StepShape& shape, std::int64_t num_filtered) {
  clear();
  shape_ = shape;
  take_arrays(shape, num_filtered);
  first_canvas_row_ = shape.rows;
  num_measures_ = static_cast<std::size_t>(num_filtered);
  Measure measure;
  measure.kind = MeasureKind::kSampled;
  measure.temperature = 1.0F;
  measure.top_p = 0.5F;
  measure.num_alternatives = 1;
  std::ranges::fill(filtered_.measures, measure);
  std::ranges::fill(filtered_.rows, 0);
  for (std::size_t i = 0; i < num_measures_; ++i) filtered_.results.push_back(i);
}

void StepInputs::add_spans(const StepPlan& plan, const RankPageTables& tables, bool canvases) {
  std::size_t first_result = 0;
  for (const SequenceSpan& sequence : plan.spans) {
    const Span& span = sequence.span;
    if (is_canvas(span) == canvases) {
      const std::int64_t first_row = num_rows_;
      add(sequence, tables.table(sequence.request));
      if (canvases) {
        canvases_.push_back({&sequence, first_row, first_result});
      } else {
        add_measures(span, first_row, first_result);
      }
    }
    first_result += span.measures.size();
  }
}

RowBatch StepInputs::batch() const {
  return {.ids = ids_,
          .recipes = recipes_,
          .positions = positions_,
          .slots = slots_,
          .spans = spans_,
          .first_canvas_row = first_canvas_row_,
          .conditioning = {}};
}

void StepInputs::check(const SequenceSpan& sequence, std::span<const PageId> table) const {
  const Span& span = sequence.span;
  check_span(span);
  TESSERA_CHECK(span.end() <= num_positions(config_), "request ", sequence.request,
                " has rows up to position ", span.end(), " of ", num_positions(config_));
  Position covered = span.cache_len;
  if (!span.stores.empty()) covered = std::max(covered, span.stores.back().end);
  const auto held = static_cast<std::int64_t>(table.size()) * config_.page_size;
  TESSERA_CHECK(covered <= held, "request ", sequence.request, " reads or stores up to position ",
                covered, "; its ", table.size(), " pages hold ", held);
  TESSERA_CHECK(span.mask != MaskKind::kPromptFull || span.prompt_len >= 0, "request ",
                sequence.request, " has a prompt of ", span.prompt_len);
  TESSERA_CHECK(!span.self_conditioning || spec_.canvas_length, "request ", sequence.request,
                " asks for self-conditioning, which ", spec_.family, " models do not have");
  TESSERA_CHECK(!span.self_conditioning || is_canvas(span), "request ", sequence.request,
                " asks for self-conditioning of rows that are no canvas");
  check_tokens(sequence);
  check_measures(sequence);
  if (is_canvas(span)) check_canvas(sequence);
}

void StepInputs::check_canvas(const SequenceSpan& sequence) const {
  const Span& span = sequence.span;
  TESSERA_CHECK(span.num_rows() == *spec_.canvas_length, "request ", sequence.request,
                " has a canvas of ", span.num_rows(), " rows; the model's has ",
                *spec_.canvas_length);
  TESSERA_CHECK(span.mask == MaskKind::kFull && span.stores.empty() && span.recipes.empty(),
                "request ", sequence.request,
                " has a canvas that is masked, stored or made of recipes");
  TESSERA_CHECK(span.measures.size() == span.tokens.size(), "request ", sequence.request,
                " measures ", span.measures.size(), " of ", span.num_rows(), " rows of a canvas");
  for (std::int32_t i = 0; i < span.num_rows(); ++i) {
    const Measure& measure = span.measures[static_cast<std::size_t>(i)];
    TESSERA_CHECK(measure.kind == MeasureKind::kCanvas && measure.row == span.first + i, "request ",
                  sequence.request, " does not measure row ", i, " of its canvas as such");
  }
}

void StepInputs::check_tokens(const SequenceSpan& sequence) const {
  const auto check_id = [&](TokenId id) {
    TESSERA_CHECK(id >= 0 && id < spec_.vocab_size, "request ", sequence.request, " has token ", id,
                  " of a vocabulary of ", spec_.vocab_size);
  };
  for (const TokenId id : sequence.span.tokens) check_id(id);
  for (const RowRecipe& row : sequence.span.recipes) {
    const auto ids = std::span(row.recipe.ids).first(static_cast<std::size_t>(row.recipe.num_ids));
    for (const TokenId id : ids) check_id(id);
    if (row.recipe.kind == RecipeKind::kAdd) {
      check_id(row.recipe.base_id);
    } else {
      TESSERA_CHECK(spec_.mask_id.has_value(), "request ", sequence.request,
                    " blends with the mask token, which this ", spec_.family,
                    " model does not have");
    }
  }
}

void StepInputs::check_measures(const SequenceSpan& sequence) const {
  for (const Measure& measure : sequence.span.measures) {
    TESSERA_CHECK(measure.kind != MeasureKind::kCanvas || spec_.canvas_length, "request ",
                  sequence.request, " measures a canvas, which ", spec_.family,
                  " models do not have");
    TESSERA_CHECK(measure.kind != MeasureKind::kCanvas || is_canvas(sequence.span), "request ",
                  sequence.request, " measures rows as a canvas and others not");
    TESSERA_CHECK(measure.temperature >= 0.0F && measure.top_p > 0.0F && measure.top_p <= 1.0F &&
                      measure.top_k >= 0,
                  "request ", sequence.request, " measures at temperature ", measure.temperature,
                  ", top_p ", measure.top_p, ", top_k ", measure.top_k);
    TESSERA_CHECK(
        measure.num_alternatives >= 0 && measure.num_alternatives <= kernels::kMaxAlternatives,
        "request ", sequence.request, " asks for ", measure.num_alternatives, " alternatives of ",
        kernels::kMaxAlternatives);
  }
}

void StepInputs::add(const SequenceSpan& sequence, std::span<const PageId> table) {
  const Span& span = sequence.span;
  const std::int64_t first_row = num_rows_;
  num_rows_ += span.num_rows();
  std::ranges::copy(span.tokens, ids_.begin() + first_row);
  std::iota(positions_.begin() + first_row, positions_.begin() + num_rows_, span.first);
  for (const PositionRange& range : span.stores) {
    for (Position p = range.begin; p < range.end; ++p) {
      const PageId page = table[static_cast<std::size_t>(p / config_.page_size)];
      slots_[static_cast<std::size_t>(first_row + p - span.first)] =
          std::int64_t{page} * config_.page_size + p % config_.page_size;
    }
  }
  for (const RowRecipe& row : span.recipes) {
    recipes_.push_back({&row.recipe, first_row + row.position - span.first});
  }
  spans_.push_back({.first_row = first_row,
                    .num_rows = span.num_rows(),
                    .first = span.first,
                    .cache_len = span.cache_len,
                    .cache_hole = span.cache_hole,
                    .mask = span.mask,
                    .mask_block = span.mask_block,
                    .prompt_len = span.prompt_len,
                    .page_table = table});
}

void StepInputs::add_measures(const Span& span, std::int64_t first_row, std::size_t first_result) {
  std::size_t result = first_result;
  for (const Measure& measure : span.measures) {
    MeasuredRows& rows = kernels::needs_logits(measure) ? filtered_ : fused_;
    rows.measures[rows.size()] = measure;
    rows.rows[rows.size()] = first_row + measure.row - span.first;
    rows.results.push_back(result++);
  }
}

}  // namespace tessera

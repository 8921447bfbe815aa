#include "worker/runtime/step_inputs.h"

#include <algorithm>

#include "common/base/error.h"
#include "common/tensor/padding.h"
#include "kernels/filtered_measure.h"

namespace tessera {
namespace {

void reserve(MeasuredRows& rows, std::size_t count) {
  rows.measures.reserve(count);
  rows.rows.reserve(count);
  rows.results.reserve(count);
}

void clear(MeasuredRows& rows) {
  rows.measures.clear();
  rows.rows.clear();
  rows.results.clear();
}

bool is_canvas(const Span& span) {
  return !span.measures.empty() && span.measures.front().kind == MeasureKind::kCanvas;
}

}  // namespace

StepInputs::StepInputs(const ModelSpec& spec, const RankConfig& config)
    : spec_(spec), config_(config) {
  const auto max_rows = static_cast<std::size_t>(config.max_step_rows);
  ids_.reserve(max_rows);
  recipes_.reserve(max_rows);
  positions_.reserve(max_rows);
  slots_.reserve(max_rows);
  spans_.reserve(static_cast<std::size_t>(config.max_sequences));
  requests_.reserve(static_cast<std::size_t>(config.max_sequences));
  reserve(fused_, max_rows);
  reserve(filtered_, max_rows);
  canvases_.reserve(static_cast<std::size_t>(config.max_sequences));
}

// The last block of the longest sequence may reach beyond its end, and divides the page.
std::int32_t StepInputs::num_positions(const RankConfig& config) {
  return static_cast<std::int32_t>(round_up(config.max_model_len, config.page_size));
}

void StepInputs::clear() {
  ids_.clear();
  recipes_.clear();
  positions_.clear();
  slots_.clear();
  spans_.clear();
  requests_.clear();
  tessera::clear(fused_);
  tessera::clear(filtered_);
  canvases_.clear();
}

void StepInputs::build(const StepPlan& plan, const RankPageTables& tables) {
  clear();
  std::int64_t num_rows = 0;
  num_measures_ = 0;
  for (const SequenceSpan& sequence : plan.spans) {
    check(sequence, tables.table(sequence.request));
    num_rows += sequence.span.num_rows();
    num_measures_ += sequence.span.measures.size();
    requests_.push_back(sequence.request);
  }
  TESSERA_CHECK(num_rows <= config_.max_step_rows, "a step of ", num_rows, " rows; at most ",
                config_.max_step_rows, " are agreed on");
  TESSERA_CHECK(num_measures_ <= static_cast<std::size_t>(config_.max_step_rows), "a step of ",
                num_measures_, " measures; at most ", config_.max_step_rows, " are agreed on");
  std::sort(requests_.begin(), requests_.end());
  const auto twice = std::adjacent_find(requests_.begin(), requests_.end());
  TESSERA_CHECK(twice == requests_.end(), "request ", *twice, " twice in a step");
  add_spans(plan, tables, /*canvases=*/false);
  first_canvas_row_ = static_cast<std::int64_t>(ids_.size());
  add_spans(plan, tables, /*canvases=*/true);
}

void StepInputs::add_spans(const StepPlan& plan, const RankPageTables& tables, bool canvases) {
  std::size_t first_result = 0;
  for (const SequenceSpan& sequence : plan.spans) {
    const Span& span = sequence.span;
    if (is_canvas(span) == canvases) {
      const auto first_row = static_cast<std::int64_t>(ids_.size());
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
  const auto first_row = static_cast<std::int64_t>(ids_.size());
  ids_.insert(ids_.end(), span.tokens.begin(), span.tokens.end());
  for (Position p = span.first; p < span.end(); ++p) positions_.push_back(p);
  slots_.resize(ids_.size(), -1);
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
    rows.measures.push_back(measure);
    rows.rows.push_back(first_row + measure.row - span.first);
    rows.results.push_back(result++);
  }
}

}  // namespace tessera

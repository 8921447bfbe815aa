#include "kernels/cuda/attention/step_plans.h"

#include <algorithm>

#include "common/base/error.h"

namespace tessera::kernels::cuda {
namespace {

AttentionLimits limits_of(const AttentionArgs& kind, const AttentionRoom& room) {
  return {.max_rows = room.rows,
          .max_span_rows = room.rows,
          .max_spans = room.spans,
          .max_pages = room.spans * room.span_pages,
          .max_span_pages = room.span_pages,
          .page_size = kind.pages.page_size,
          .num_q_heads = kind.num_q_heads,
          .num_kv_heads = kind.pages.num_kv_heads};
}

std::int64_t longest_span(std::span<const AttentionSpan> spans) {
  std::int64_t rows = 0;
  for (const AttentionSpan& span : spans) rows = std::max<std::int64_t>(rows, span.num_rows);
  return rows;
}

std::int64_t length_of(const auto& values) {
  return static_cast<std::int64_t>(values.size());
}

// Of plans for few queries, whose tiles are more, and for many.
PlanLengths longest_of_all(const Context& context,
                           const AttentionArgs& kind,
                           const AttentionRoom& room) {
  PlanLengths longest;
  for (const std::int64_t span_rows : {std::int64_t{1}, room.rows}) {
    const PlanLengths lengths =
        longest_plan(limits_of(kind, room),
                     attention_plan_shape(context, kind.pages, kind.num_q_heads, span_rows));
    longest = {.items = std::max(longest.items, lengths.items),
               .merges = std::max(longest.merges, lengths.merges),
               .page_table = lengths.page_table,
               .fresh_ends = lengths.fresh_ends};
  }
  return longest;
}

// An array of `length` entries, at least as many as there are values.
template <typename T>
std::span<T> take(StepArrays& arrays, const std::vector<T>& values, std::int64_t length) {
  TESSERA_CHECK(length_of(values) <= length, "a plan of attention with ", values.size(),
                " entries where there is room for ", length);
  const std::span<T> array = arrays.take<T>(length);
  std::ranges::copy(values, array.begin());
  return array;
}

}  // namespace

std::int64_t StepPlans::reserve(const Context& context,
                                std::span<const AttentionArgs> kinds,
                                const AttentionRoom& room) {
  kinds_.resize(kinds.size());
  std::int64_t num_bytes = StepArrays::bytes_of<Position>(room.rows) +
                           StepArrays::bytes_of<PageId>(room.spans * room.span_pages + 1);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const PlanLengths lengths = longest_of_all(context, kinds[i], room);
    AttentionPlan& plan = kinds_[i].plan;
    plan.items.reserve(static_cast<std::size_t>(lengths.items));
    plan.tiles.reserve(static_cast<std::size_t>(lengths.items));
    plan.merges.reserve(static_cast<std::size_t>(lengths.merges));
    plan.page_table.reserve(static_cast<std::size_t>(lengths.page_table));
    plan.fresh_ends.reserve(static_cast<std::size_t>(lengths.fresh_ends));
    num_bytes += StepArrays::bytes_of<PlanHeader>(1) +
                 StepArrays::bytes_of<PlanItem>(lengths.items) +
                 StepArrays::bytes_of<MergeItem>(lengths.merges);
  }
  return num_bytes;
}

// The page table comes last: it alone is as long as the step's.
void StepPlans::make(Context& context,
                     std::span<const AttentionArgs> kinds,
                     const AttentionRoom* room) {
  StepArrays& arrays = context.step_arrays();
  kinds_.resize(kinds.size());
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    const AttentionArgs& kind = kinds[i];
    KindPlan& mine = kinds_[i];
    const PlanShape shape =
        attention_plan_shape(context, kind.pages, kind.num_q_heads,
                             room != nullptr ? room->rows : longest_span(kind.spans));
    kernels::cuda::plan_attention(kind, shape, mine.plan);
    PlanLengths lengths = {.items = length_of(mine.plan.items),
                           .merges = length_of(mine.plan.merges),
                           .num_partials = mine.plan.num_partials};
    if (room != nullptr) lengths = longest_plan(limits_of(kind, *room), shape);
    mine.header = arrays.take<PlanHeader>(1);
    mine.header[0] = {static_cast<std::int32_t>(mine.plan.items.size()),
                      static_cast<std::int32_t>(mine.plan.merges.size())};
    mine.items = take(arrays, mine.plan.items, lengths.items);
    mine.merges = take(arrays, mine.plan.merges, lengths.merges);
    mine.max_partials = lengths.num_partials;
    mine.tile_queries = shape.tile_queries;
  }
  if (kinds_.empty()) return;
  const AttentionPlan& plan = kinds_.front().plan;
  fresh_ends_ =
      take(arrays, plan.fresh_ends, room != nullptr ? room->rows : length_of(plan.fresh_ends));
  // Not empty: it has an address that a graph may keep.
  page_table_ = take(arrays, plan.page_table, length_of(plan.page_table) + 1);
}

StagedPlan StepPlans::staged(Context& context, std::int32_t kind) const {
  TESSERA_REQUIRE(kind >= 0 && static_cast<std::size_t>(kind) < kinds_.size(),
                  "block_attention: plan ", kind, " of ", kinds_.size());
  const KindPlan& mine = kinds_[static_cast<std::size_t>(kind)];
  return {.header = context.stage(std::span<const PlanHeader>(mine.header)),
          .items = context.stage(std::span<const PlanItem>(mine.items)),
          .merges = context.stage(std::span<const MergeItem>(mine.merges)),
          .page_table = context.stage(std::span<const PageId>(page_table_)),
          .fresh_ends = context.stage(std::span<const Position>(fresh_ends_)),
          .max_partials = mine.max_partials,
          .tile_queries = mine.tile_queries};
}

}  // namespace tessera::kernels::cuda

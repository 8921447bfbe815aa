#include "tests/support/hash_executor.h"

#include <algorithm>
#include <set>

#include "common/base/error.h"

namespace tessera {

HashExecutor::HashExecutor(const ModelFacts& facts,
                           std::uint64_t seed,
                           std::int32_t page_size,
                           std::int32_t num_pages,
                           const MeasureRules& rules)
    : facts_(facts),
      seed_(seed),
      page_size_(page_size),
      rules_(rules),
      slots_(static_cast<std::size_t>(page_size) * static_cast<std::size_t>(num_pages)),
      num_owners_(static_cast<std::size_t>(num_pages)) {}

void HashExecutor::set_seed(RequestId request, std::uint64_t seed) {
  seeds_[request] = seed;
}

std::int32_t HashExecutor::num_owners(PageId page) const {
  return num_owners_.at(static_cast<std::size_t>(page));
}

StepResult HashExecutor::run(const StepPlan& plan) {
  if (plan.epoch != epoch_) {
    forget_everything();
    epoch_ = plan.epoch;
  }
  TESSERA_CHECK(plan.step == last_step_ + 1, "step ", plan.step, " after step ", last_step_);
  last_step_ = plan.step;
  for (const RequestId request : plan.released) release(request);
  for (const PageTableDelta& delta : plan.page_table_deltas) apply_delta(delta);

  StepResult result{.epoch = plan.epoch, .step = plan.step, .rank = 0, .spans = {}, .timing = {}};
  std::set<RequestId> seen;
  for (const SequenceSpan& span : plan.spans) {
    TESSERA_CHECK(seen.insert(span.request).second, "request ", span.request, " twice in a step");
    check_span(span.span);
    page_tables_.try_emplace(span.request);  // known from now on, even if it never stores anything
    result.spans.push_back(measure(span, forward(span)));
  }
  return result;
}

void HashExecutor::forget_everything() {
  std::fill(slots_.begin(), slots_.end(), Slot{});
  std::fill(num_owners_.begin(), num_owners_.end(), 0);
  page_tables_.clear();
  conditioning_.clear();
  last_step_ = 0;
}

void HashExecutor::release(RequestId request) {
  const auto table = page_tables_.find(request);
  TESSERA_CHECK(table != page_tables_.end(), "released request ", request, " is unknown");
  for (const PageId page : table->second) --num_owners_[static_cast<std::size_t>(page)];
  page_tables_.erase(table);
  conditioning_.erase(request);
}

void HashExecutor::apply_delta(const PageTableDelta& delta) {
  std::vector<PageId>& table = page_tables_[delta.request];
  TESSERA_CHECK(delta.first_page_index >= 0 &&
                    delta.first_page_index <= static_cast<std::int32_t>(table.size()),
                "page table of request ", delta.request, " has ", table.size(),
                " entries; a change starts at ", delta.first_page_index);
  const auto kept = table.begin() + delta.first_page_index;
  for (auto page = kept; page != table.end(); ++page) {
    --num_owners_[static_cast<std::size_t>(*page)];
  }
  table.erase(kept, table.end());
  for (const PageId page : delta.pages) {
    TESSERA_CHECK(page >= 0 && page < static_cast<PageId>(num_owners_.size()), "page id ", page);
    TESSERA_CHECK(std::find(table.begin(), table.end(), page) == table.end(), "page ", page,
                  " twice in the table of request ", delta.request);
    table.push_back(page);
    ++num_owners_[static_cast<std::size_t>(page)];
  }
}

std::size_t HashExecutor::slot_index(RequestId request, Position position) const {
  const auto table = page_tables_.find(request);
  TESSERA_CHECK(table != page_tables_.end(), "request ", request, " has no page table");
  const auto index = static_cast<std::size_t>(position / page_size_);
  TESSERA_CHECK(index < table->second.size(), "position ", position, " of request ", request,
                " lies beyond its ", table->second.size(), " pages");
  return static_cast<std::size_t>(table->second[index]) * static_cast<std::size_t>(page_size_) +
         static_cast<std::size_t>(position % page_size_);
}

const HashExecutor::Slot& HashExecutor::read(RequestId request, Position position) const {
  const Slot& slot = slots_[slot_index(request, position)];
  TESSERA_CHECK(slot.position == position, "request ", request, " reads position ", position,
                " from a slot that holds ", slot.position);
  return slot;
}

void HashExecutor::require_writable(const SequenceSpan& span) const {
  for (const PositionRange& range : span.span.stores) {
    for (Position q = range.begin; q < range.end; ++q) {
      const std::size_t page = slot_index(span.request, q) / static_cast<std::size_t>(page_size_);
      TESSERA_CHECK(num_owners_[page] == 1, "request ", span.request, " writes position ", q,
                    " to page ", page, ", which ", num_owners_[page], " requests hold");
    }
  }
}

HashKv HashExecutor::cache_sum(const SequenceSpan& span) const {
  HashKv sum;
  for (Position q = 0; q < span.span.cache_len; ++q) {
    if (span.span.cache_hole.contains(q)) continue;
    const Slot& slot = read(span.request, q);
    sum.k1 += slot.kv.k1;
    sum.k2 += slot.kv.k2;
  }
  return sum;
}

std::vector<HashRow> HashExecutor::forward(const SequenceSpan& span) {
  require_writable(span);
  const HashModel model = model_of(span.request);
  std::vector<HashRow> rows(span.span.tokens.size());
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const auto offset = static_cast<Position>(i);
    rows[i].content = model.content(span.span.first + offset, span.span.tokens[i]);
  }
  for (const RowRecipe& recipe : span.span.recipes) {
    std::uint64_t& content =
        rows.at(static_cast<std::size_t>(recipe.position - span.span.first)).content;
    content = HashModel::with_recipe(content, recipe.recipe);
  }
  if (span.span.self_conditioning) condition(span, rows);
  if (span.span.mask == MaskKind::kCacheOnly) {
    attend_cache_only(span, rows);
  } else {
    attend_new_rows(span, rows);
    store(span, rows);
  }
  return rows;
}

// Under every mask the rows that one row sees are a prefix of the span, and a later row sees no
// fewer: sums over prefixes grow with a cursor that only moves right.
void HashExecutor::attend_new_rows(const SequenceSpan& span, std::vector<HashRow>& rows) const {
  const HashKv cache = cache_sum(span);
  const Position first = span.span.first;
  std::vector<std::size_t> visible_end(rows.size());
  std::size_t end = 0;
  std::uint64_t sum = cache.k1;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    while (end < rows.size() &&
           sees(span.span, first + static_cast<Position>(i), first + static_cast<Position>(end))) {
      sum += rows[end++].content;
    }
    visible_end[i] = end;
    HashModel::first_layer(rows[i], sum);
  }
  end = 0;
  sum = cache.k2;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (; end < visible_end[i]; ++end) sum += rows[end].k2;
    HashModel::second_layer(rows[i], sum);
  }
}

// The rows are stored first, layer by layer, and seen through the cache.
void HashExecutor::attend_cache_only(const SequenceSpan& span, std::vector<HashRow>& rows) {
  store(span, rows);
  const std::uint64_t sum1 = cache_sum(span).k1;
  for (HashRow& row : rows) HashModel::first_layer(row, sum1);
  store(span, rows);
  const std::uint64_t sum2 = cache_sum(span).k2;
  for (HashRow& row : rows) HashModel::second_layer(row, sum2);
}

void HashExecutor::store(const SequenceSpan& span, const std::vector<HashRow>& rows) {
  for (const PositionRange& range : span.span.stores) {
    for (Position q = range.begin; q < range.end; ++q) {
      const HashRow& row = rows[static_cast<std::size_t>(q - span.span.first)];
      slots_[slot_index(span.request, q)] = {{row.content, row.k2}, q};
    }
  }
}

SpanResult HashExecutor::measure(const SequenceSpan& span, const std::vector<HashRow>& rows) {
  const HashModel model = model_of(span.request);
  SpanResult result{span.request, {}};
  Conditioning next{span.span.first, {}};
  for (const Measure& measure : span.span.measures) {
    const HashRow& row = rows[static_cast<std::size_t>(measure.row - span.span.first)];
    result.measurements.push_back(
        measure_reference(model.logits(row.h, measure.row), facts_, measure, rules_));
    if (measure.kind == MeasureKind::kCanvas) {
      next.greedy.push_back(result.measurements.back().greedy_token);
    }
  }
  if (!next.greedy.empty()) {
    TESSERA_CHECK(next.greedy.size() == rows.size(), "a canvas of ", rows.size(), " rows with ",
                  next.greedy.size(), " measured");
    conditioning_[span.request] = std::move(next);
  }
  return result;
}

HashModel HashExecutor::model_of(RequestId request) const {
  const auto own = seeds_.find(request);
  return HashModel(facts_.vocab_size, own == seeds_.end() ? seed_ : own->second);
}

void HashExecutor::condition(const SequenceSpan& span, std::vector<HashRow>& rows) const {
  const auto kept = conditioning_.find(span.request);
  TESSERA_CHECK(kept != conditioning_.end() && kept->second.first == span.span.first &&
                    kept->second.greedy.size() == rows.size(),
                "request ", span.request, " has no self-conditioning for a canvas at ",
                span.span.first);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    rows[i].content = HashModel::with_conditioning(rows[i].content, kept->second.greedy[i]);
  }
}

}  // namespace tessera

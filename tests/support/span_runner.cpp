#include "tests/support/span_runner.h"

#include <algorithm>
#include <utility>

namespace tessera {
namespace {

constexpr std::int32_t kNumPages = 512;
constexpr RequestId kRequest = 7;

}  // namespace

SpanRunner::SpanRunner(const ModelFacts& facts,
                       std::uint64_t seed,
                       std::int32_t page_size,
                       const MeasureRules& rules)
    : executor_(facts, seed, page_size, kNumPages, rules), page_size_(page_size) {}

std::vector<Measurement> SpanRunner::run(const Span& span) {
  StepPlan plan{
      .epoch = epoch_, .step = ++step_, .released = {}, .page_table_deltas = {}, .spans = {}};
  Position needed = span.cache_len;
  if (!span.stores.empty()) needed = std::max(needed, span.stores.back().end);
  const std::int32_t num_pages = (needed + page_size_ - 1) / page_size_;
  if (num_pages > num_pages_held_) {
    PageTableDelta delta{kRequest, num_pages_held_, {}};
    for (; num_pages_held_ < num_pages; ++num_pages_held_) {
      delta.pages.push_back(kNumPages - 1 - num_pages_held_);
    }
    plan.page_table_deltas.push_back(std::move(delta));
  }
  plan.spans.push_back({kRequest, span});
  return executor_.run(plan).spans.front().measurements;
}

std::vector<Measurement> SpanRunner::run_in_pieces(const Span& span, std::int32_t piece_rows) {
  Span rest = span;
  while (piece_rows <= num_leading_stored(rest) && piece_rows < rest.num_rows()) {
    const Position cut = rest.first + piece_rows;
    run(leading_piece(rest, cut));
    rest = remaining_piece(rest, cut);
  }
  return run(rest);
}

void SpanRunner::lose_pages() {
  ++epoch_;
  step_ = 0;
  num_pages_held_ = 0;
}

}  // namespace tessera

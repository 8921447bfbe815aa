#include "worker/kv/rank_page_tables.h"

#include "common/base/error.h"

namespace tessera {

RankPageTables::RankPageTables(std::int32_t num_pages,
                               std::int32_t max_sequences,
                               std::int32_t max_pages)
    : num_pages_(num_pages),
      max_pages_(static_cast<std::size_t>(max_pages)),
      tables_(static_cast<std::size_t>(max_sequences)) {
  for (std::size_t index = tables_.size(); index-- > 0;) {
    tables_[index].reserve(max_pages_);
    unused_.push_back(index);
  }
  indices_.reserve(tables_.size());
}

void RankPageTables::apply(const StepPlan& plan) {
  for (const RequestId request : plan.released) release(request);
  for (const PageTableDelta& delta : plan.page_table_deltas) change(delta);
  for (const SequenceSpan& span : plan.spans) find_or_add(span.request);
}

std::span<const PageId> RankPageTables::table(RequestId request) const {
  const auto found = indices_.find(request);
  TESSERA_CHECK(found != indices_.end(), "request ", request, " is unknown");
  return tables_[found->second];
}

std::vector<PageId>& RankPageTables::find_or_add(RequestId request) {
  const auto found = indices_.find(request);
  if (found != indices_.end()) return tables_[found->second];
  TESSERA_CHECK(!unused_.empty(), "request ", request, " is one more than the ", tables_.size(),
                " sequences this rank is configured for");
  const std::size_t index = unused_.back();
  unused_.pop_back();
  indices_.emplace(request, index);
  return tables_[index];
}

void RankPageTables::release(RequestId request) {
  const auto found = indices_.find(request);
  TESSERA_CHECK(found != indices_.end(), "released request ", request, " is unknown");
  tables_[found->second].clear();
  unused_.push_back(found->second);
  indices_.erase(found);
}

void RankPageTables::change(const PageTableDelta& delta) {
  std::vector<PageId>& table = find_or_add(delta.request);
  TESSERA_CHECK(delta.first_page_index >= 0 &&
                    delta.first_page_index <= static_cast<std::int32_t>(table.size()),
                "the page table of request ", delta.request, " has ", table.size(),
                " entries; a change starts at ", delta.first_page_index);
  table.resize(static_cast<std::size_t>(delta.first_page_index));
  TESSERA_CHECK(table.size() + delta.pages.size() <= max_pages_, "the page table of request ",
                delta.request, " gets ", table.size() + delta.pages.size(), " entries of at most ",
                max_pages_);
  for (const PageId page : delta.pages) {
    TESSERA_CHECK(page >= 0 && page < num_pages_, "page ", page, " of request ", delta.request,
                  " is none of ", num_pages_);
    table.push_back(page);
  }
}

}  // namespace tessera

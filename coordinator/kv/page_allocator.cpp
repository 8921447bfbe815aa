#include "coordinator/kv/page_allocator.h"

#include "common/base/error.h"

namespace tessera {

PageAllocator::PageAllocator(std::int32_t num_pages) {
  TESSERA_CHECK(num_pages > 0, "num_pages ", num_pages);
  pages_.resize(static_cast<std::size_t>(num_pages));
  free_.reserve(pages_.size());
  for (PageId page = num_pages - 1; page >= 0; --page) free_.push_back(page);
}

const PageAllocator::Page& PageAllocator::at(PageId page) const {
  TESSERA_CHECK(page >= 0 && page < num_pages(), "page ", page, " of ", num_pages());
  return pages_[static_cast<std::size_t>(page)];
}

PageAllocator::Page& PageAllocator::at(PageId page) {
  return const_cast<Page&>(static_cast<const PageAllocator&>(*this).at(page));
}

PageId PageAllocator::allocate() {
  TESSERA_CHECK(!free_.empty(), "no free page among ", num_pages());
  const PageId page = free_.back();
  free_.pop_back();
  at(page).references = 1;
  return page;
}

void PageAllocator::retain(PageId page) {
  Page& entry = at(page);
  TESSERA_CHECK(entry.references > 0 || entry.kept, "page ", page, " is free");
  if (entry.references == 0) unlink(page);
  ++entry.references;
}

void PageAllocator::release(PageId page) {
  Page& entry = at(page);
  TESSERA_CHECK(entry.references > 0, "page ", page, " has no reference");
  if (--entry.references > 0) return;
  if (entry.kept) {
    link_newest(page);
  } else {
    free_.push_back(page);
  }
}

void PageAllocator::keep(PageId page) {
  Page& entry = at(page);
  TESSERA_CHECK(entry.references > 0 && !entry.kept, "page ", page, " with ", entry.references,
                " references, kept ", entry.kept);
  entry.kept = true;
}

std::optional<PageId> PageAllocator::take_oldest_cached() {
  if (num_cached_ == 0) return std::nullopt;
  const PageId page = oldest_cached_;
  unlink(page);
  at(page).kept = false;
  free_.push_back(page);
  return page;
}

void PageAllocator::link_newest(PageId page) {
  Page& entry = at(page);
  if (num_cached_ == 0) {
    oldest_cached_ = entry.older = entry.newer = page;
  } else {
    Page& oldest = at(oldest_cached_);
    entry.newer = oldest_cached_;
    entry.older = oldest.older;
    at(entry.older).newer = page;
    oldest.older = page;
  }
  ++num_cached_;
}

void PageAllocator::unlink(PageId page) {
  const Page& entry = at(page);
  at(entry.older).newer = entry.newer;
  at(entry.newer).older = entry.older;
  if (oldest_cached_ == page) oldest_cached_ = entry.newer;
  --num_cached_;
}

void PageAllocator::check_integrity() const {
  std::vector<bool> seen(pages_.size(), false);
  const auto visit = [&](PageId page, bool kept) {
    TESSERA_CHECK(at(page).references == 0 && at(page).kept == kept, "page ", page, " with ",
                  at(page).references, " references is listed as ", kept ? "cached" : "free");
    TESSERA_CHECK(!seen[static_cast<std::size_t>(page)], "page ", page, " is listed twice");
    seen[static_cast<std::size_t>(page)] = true;
  };
  for (const PageId page : free_) visit(page, /*kept=*/false);
  PageId page = oldest_cached_;
  for (std::int32_t i = 0; i < num_cached_; ++i, page = at(page).newer) visit(page, /*kept=*/true);
  for (std::size_t i = 0; i < pages_.size(); ++i) {
    TESSERA_CHECK(seen[i] != (pages_[i].references > 0), "page ", i, " is leaked");
  }
}

}  // namespace tessera

#include "coordinator/scheduling/page_tables.h"

#include <algorithm>
#include <ranges>
#include <span>
#include <unordered_set>

#include "common/base/error.h"

namespace tessera {

PageTables::PageTables(std::int32_t num_pages, std::int32_t page_size, bool prefix_cache)
    : page_size_(page_size),
      prefix_cache_(prefix_cache),
      allocator_(num_pages),
      cache_(allocator_, page_size) {}

const PrefixRule* PageTables::rule_of(const RequestRecord& record) const {
  const auto& rule = record.traits().prefix_rule;
  return prefix_cache_ && rule ? &*rule : nullptr;
}

PrefixHit PageTables::find_prefix(const RequestRecord& record) const {
  const PrefixRule* rule = rule_of(record);
  if (rule == nullptr) return {};
  const Position len = record.replaceable_len();
  PrefixHit hit;
  hit.pages =
      cache_.find(*rule, std::span(record.sequence.tokens).first(static_cast<std::size_t>(len)));
  hit.num_unreferenced = static_cast<std::int32_t>(std::ranges::count_if(
      hit.pages, [&](PageId page) { return allocator_.num_references(page) == 0; }));
  return hit;
}

void PageTables::attach(RequestRecord& record, const PrefixHit& hit) {
  TESSERA_CHECK(record.pages.empty(), "request ", record.id(), " already has pages");
  for (const PageId page : hit.pages) allocator_.retain(page);
  record.pages = hit.pages;
  record.num_registered_pages = static_cast<std::int32_t>(hit.pages.size());
  record.stored_len = record.num_registered_pages * page_size_;
}

bool PageTables::cover(RequestRecord& record, const Span& span, Position end) {
  Position stored_end = 0;
  for (const PositionRange& range : span.stores) {
    if (range.begin >= end) break;
    TESSERA_CHECK(range.begin >= record.num_registered_pages * page_size_, "request ", record.id(),
                  " stores position ", range.begin, " in one of its ", record.num_registered_pages,
                  " final pages");
    stored_end = std::min(range.end, end);
  }
  const std::int32_t missing =
      num_pages_for(stored_end) - static_cast<std::int32_t>(record.pages.size());
  if (missing <= 0) return true;
  if (!allocator_.can_allocate(missing)) return false;
  cache_.make_room(missing);
  for (std::int32_t i = 0; i < missing; ++i) record.pages.push_back(allocator_.allocate());
  return true;
}

bool PageTables::register_final(RequestRecord& record) {
  const PrefixRule* rule = rule_of(record);
  if (rule == nullptr) return false;
  const std::int32_t tile_len = cache_.tile_len(*rule);
  const auto pages_per_tile = static_cast<std::size_t>(tile_len / page_size_);
  bool replaced = false;
  while (record.num_registered_pages * page_size_ + tile_len <= record.final_len()) {
    const auto first = static_cast<std::size_t>(record.num_registered_pages);
    const auto first_token = first * static_cast<std::size_t>(page_size_);
    const std::span<PageId> pages(record.pages);
    if (cache_.insert(*rule, pages.first(first),
                      std::span<const TokenId>(record.sequence.tokens)
                          .subspan(first_token, static_cast<std::size_t>(tile_len)),
                      pages.subspan(first, pages_per_tile))) {
      record.num_sent_pages = std::min(record.num_sent_pages, record.num_registered_pages);
      replaced = true;
    }
    record.num_registered_pages += static_cast<std::int32_t>(pages_per_tile);
  }
  return replaced;
}

void PageTables::release(RequestRecord& record) {
  // Children before parents: see PrefixCache.
  for (const PageId page : std::views::reverse(record.pages)) allocator_.release(page);
  record.pages.clear();
}

std::optional<PageTableDelta> PageTables::take_delta(RequestRecord& record) const {
  const auto num_pages = static_cast<std::int32_t>(record.pages.size());
  if (record.num_sent_pages == num_pages) return std::nullopt;
  PageTableDelta delta{record.id(),
                       record.num_sent_pages,
                       {record.pages.begin() + record.num_sent_pages, record.pages.end()}};
  record.num_sent_pages = num_pages;
  return delta;
}

void PageTables::check_integrity(const std::vector<RequestRecord*>& records) const {
  allocator_.check_integrity();
  cache_.check_integrity();
  std::vector<std::int32_t> references(static_cast<std::size_t>(allocator_.num_pages()), 0);
  for (const RequestRecord* record : records) {
    std::unordered_set<PageId> own;
    for (std::size_t i = 0; i < record->pages.size(); ++i) {
      const PageId page = record->pages[i];
      TESSERA_CHECK(own.insert(page).second, "request ", record->id(), " has page ", page,
                    " twice");
      const bool is_final = static_cast<std::int32_t>(i) < record->num_registered_pages;
      TESSERA_CHECK(allocator_.is_kept(page) == is_final, "page ", page, " of request ",
                    record->id(), is_final ? " is not registered" : " may be shared while written");
      TESSERA_CHECK(is_final || allocator_.num_references(page) == 1, "page ", page, " of request ",
                    record->id(), " is written and has ", allocator_.num_references(page),
                    " holders");
      ++references[static_cast<std::size_t>(page)];
    }
    TESSERA_CHECK(
        num_pages_for(record->stored_len) <= static_cast<std::int32_t>(record->pages.size()),
        "request ", record->id(), " stored ", record->stored_len, " positions in ",
        record->pages.size(), " pages");
    if (const PrefixRule* rule = rule_of(*record)) {
      const auto len = static_cast<std::size_t>(record->num_registered_pages * page_size_);
      const auto path = cache_.find(*rule, std::span(record->sequence.tokens).first(len));
      TESSERA_CHECK(std::equal(path.begin(), path.end(), record->pages.begin(),
                               record->pages.begin() + record->num_registered_pages),
                    "final pages of request ", record->id(), " hold other tokens");
    }
  }
  for (PageId page = 0; page < allocator_.num_pages(); ++page) {
    TESSERA_CHECK(references[static_cast<std::size_t>(page)] == allocator_.num_references(page),
                  "page ", page, " has ", allocator_.num_references(page), " references and ",
                  references[static_cast<std::size_t>(page)], " holders");
  }
}

}  // namespace tessera

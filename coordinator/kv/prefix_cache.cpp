#include "coordinator/kv/prefix_cache.h"

#include <algorithm>
#include <numeric>

#include "common/base/error.h"
#include "common/base/philox.h"

namespace tessera {
namespace {

std::uint64_t combine(std::uint64_t state, std::uint64_t word) {
  return splitmix64(state + 0x9E3779B97F4A7C15U + word);
}

}  // namespace

std::uint64_t chain_hash(std::uint64_t parent, std::span<const TokenId> tokens) {
  std::uint64_t state = combine(parent, tokens.size());
  for (const TokenId token : tokens) {
    state = combine(state, static_cast<std::uint32_t>(token));
  }
  return state;
}

PrefixCache::PrefixCache(PageAllocator& pages, std::int32_t page_size, Hash hash)
    : pages_(pages),
      page_size_(page_size),
      hash_(hash),
      entries_(static_cast<std::size_t>(pages.num_pages())) {
  TESSERA_CHECK(page_size > 0, "page_size ", page_size);
}

std::int32_t PrefixCache::tile_len(const PrefixRule& rule) const {
  return std::lcm(page_size_, rule.unit);
}

std::uint64_t PrefixCache::hash_of(const PrefixRule& rule,
                                   PageId parent,
                                   std::span<const TokenId> tile) const {
  if (parent != kRoot) return hash_(at(parent).hash, tile);
  return hash_(
      combine(static_cast<std::uint64_t>(rule.mask), static_cast<std::uint64_t>(rule.unit)), tile);
}

PageId PrefixCache::child_of(const PrefixRule& rule,
                             PageId parent,
                             std::span<const TokenId> tile,
                             std::uint64_t hash) const {
  const auto [begin, end] = by_hash_.equal_range(hash);
  const auto found = std::find_if(begin, end, [&](const auto& candidate) {
    const Entry& entry = at(candidate.second);
    return entry.parent == parent && entry.rule == rule && std::ranges::equal(entry.tile, tile);
  });
  return found == end ? kRoot : found->second;
}

std::vector<PageId> PrefixCache::find(const PrefixRule& rule,
                                      std::span<const TokenId> tokens) const {
  const auto tile_size = static_cast<std::size_t>(tile_len(rule));
  const std::size_t pages_per_tile = tile_size / static_cast<std::size_t>(page_size_);
  std::vector<PageId> path;
  PageId parent = kRoot;
  for (; tokens.size() >= tile_size; tokens = tokens.subspan(tile_size)) {
    const std::size_t whole_tiles = path.size();
    for (std::size_t i = 0; i < pages_per_tile; ++i) {
      const auto tile = tokens.first(tile_size);
      const PageId page = child_of(rule, parent, tile, hash_of(rule, parent, tile));
      if (page == kRoot) {
        path.resize(whole_tiles);
        return path;
      }
      path.push_back(page);
      parent = page;
    }
  }
  return path;
}

bool PrefixCache::insert(const PrefixRule& rule,
                         std::span<const PageId> path,
                         std::span<const TokenId> tile,
                         std::span<PageId> tile_pages) {
  TESSERA_CHECK(static_cast<std::int32_t>(tile.size()) == tile_len(rule) &&
                    tile_pages.size() * static_cast<std::size_t>(page_size_) == tile.size(),
                "tile of ", tile.size(), " tokens in ", tile_pages.size(), " pages");
  bool replaced = false;
  PageId parent = path.empty() ? kRoot : path.back();
  TESSERA_CHECK(parent == kRoot || !at(parent).tile.empty(), "parent page ", parent,
                " is not registered");
  for (PageId& page : tile_pages) {
    const std::uint64_t hash = hash_of(rule, parent, tile);
    const PageId known = child_of(rule, parent, tile, hash);
    if (known == kRoot) {
      add(rule, parent, tile, hash, page);
    } else if (known != page) {
      pages_.retain(known);
      pages_.release(page);
      page = known;
      replaced = true;
    }
    parent = page;
  }
  return replaced;
}

void PrefixCache::add(const PrefixRule& rule,
                      PageId parent,
                      std::span<const TokenId> tile,
                      std::uint64_t hash,
                      PageId page) {
  pages_.keep(page);
  Entry& entry = at(page);
  entry = {rule, parent, {tile.begin(), tile.end()}, hash, 0};
  by_hash_.emplace(hash, page);
  if (parent != kRoot) ++at(parent).num_children;
}

void PrefixCache::erase(PageId page) {
  Entry& entry = at(page);
  TESSERA_CHECK(entry.num_children == 0, "page ", page, " is evicted before its ",
                entry.num_children, " children");
  if (entry.parent != kRoot) --at(entry.parent).num_children;
  const auto [begin, end] = by_hash_.equal_range(entry.hash);
  by_hash_.erase(std::find_if(begin, end, [&](const auto& e) { return e.second == page; }));
  entry = {};
}

void PrefixCache::make_room(std::int32_t count) {
  TESSERA_CHECK(pages_.can_allocate(count), count, " pages of ", pages_.num_free(), " free and ",
                pages_.num_cached(), " cached");
  while (pages_.num_free() < count) {
    erase(pages_.take_oldest_cached().value());
    ++num_evictions_;
  }
}

void PrefixCache::check_integrity() const {
  std::size_t num_registered = 0;
  std::vector<std::int32_t> children(entries_.size(), 0);
  for (PageId page = 0; page < pages_.num_pages(); ++page) {
    const Entry& entry = at(page);
    TESSERA_CHECK(entry.tile.empty() != pages_.is_kept(page), "page ", page,
                  pages_.is_kept(page) ? " is kept without an entry" : " has a stale entry");
    if (entry.tile.empty()) continue;
    ++num_registered;
    TESSERA_CHECK(child_of(entry.rule, entry.parent, entry.tile, entry.hash) == page, "page ", page,
                  " is not found under its own key");
    if (entry.parent == kRoot) continue;
    TESSERA_CHECK(pages_.num_references(entry.parent) >= pages_.num_references(page), "page ", page,
                  " has more holders than its parent ", entry.parent);
    ++children[static_cast<std::size_t>(entry.parent)];
  }
  TESSERA_CHECK(by_hash_.size() == num_registered, by_hash_.size(), " keys for ", num_registered,
                " registered pages");
  for (PageId page = 0; page < pages_.num_pages(); ++page) {
    TESSERA_CHECK(at(page).num_children == children[static_cast<std::size_t>(page)], "page ", page,
                  " counts ", at(page).num_children, " children");
  }
}

}  // namespace tessera

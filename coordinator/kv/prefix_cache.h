#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "common/base/types.h"
#include "coordinator/kv/page_allocator.h"
#include "strategies/strategy.h"

namespace tessera {

/// Hash of one step of a chain: what came before, then the tokens.
std::uint64_t chain_hash(std::uint64_t parent, std::span<const TokenId> tokens);

/// Finds pages that already hold the K/V of a prefix of tokens, of one replica.
///
/// Entries form a tree: a page is known by its rule, its parent page and its tokens. The chained
/// hash only finds candidates; rule, parent and tokens are compared, so a collision is never a hit.
/// K/V of a position depends on its whole unit. Where the unit does not divide the page, pages are
/// therefore registered and found in *tiles* of lcm(page, unit) tokens, and each page of a tile is
/// known by the tokens of the whole tile.
///
/// Holders keep the path from the root: whoever references a page references its parents, and
/// releases them after it. Hence the oldest cached page never has a child, and eviction in order
/// of last use never cuts a path.
///
/// Borrows the allocator, which must outlive it. Owned by the engine thread.
class PrefixCache {
 public:
  using Hash = std::uint64_t (*)(std::uint64_t parent, std::span<const TokenId> tokens);

  /// @param hash  Tests weaken it to force collisions.
  PrefixCache(PageAllocator& pages, std::int32_t page_size, Hash hash = &chain_hash);

  /// Tokens per tile under the rule, a multiple of the page size and of the unit.
  std::int32_t tile_len(const PrefixRule& rule) const;

  /// Pages that hold the longest known prefix of `tokens`, in whole tiles. Takes no reference:
  /// retain them before anything is allocated.
  std::vector<PageId> find(const PrefixRule& rule, std::span<const TokenId> tokens) const;

  /// Registers the pages of the next tile, whose K/V is stored and final.
  ///
  /// @param path        Pages from the root to before the tile, registered under `rule`.
  /// @param tile        Tokens of the tile, tile_len(rule) of them.
  /// @param tile_pages  Its pages in order; the caller holds a reference to each. Where equal
  ///                    content is known already, that page replaces the entry: the known one is
  ///                    retained, the caller's is released.
  /// @return Whether a page was replaced.
  bool insert(const PrefixRule& rule,
              std::span<const PageId> path,
              std::span<const TokenId> tile,
              std::span<PageId> tile_pages);

  /// Evicts until `count` pages are free. PageAllocator::can_allocate(count) must hold.
  void make_room(std::int32_t count);

  std::uint64_t num_evictions() const { return num_evictions_; }

  /// Throws Error{kInternal} naming the first broken invariant.
  void check_integrity() const;

 private:
  static constexpr PageId kRoot = -1;

  struct Entry {
    PrefixRule rule;
    PageId parent = kRoot;
    std::vector<TokenId> tile;  ///< Empty: not registered.
    std::uint64_t hash = 0;
    std::int32_t num_children = 0;
  };

  const Entry& at(PageId page) const { return entries_[static_cast<std::size_t>(page)]; }
  Entry& at(PageId page) { return entries_[static_cast<std::size_t>(page)]; }
  std::uint64_t hash_of(const PrefixRule& rule, PageId parent, std::span<const TokenId> tile) const;
  PageId child_of(const PrefixRule& rule,
                  PageId parent,
                  std::span<const TokenId> tile,
                  std::uint64_t hash) const;
  void add(const PrefixRule& rule,
           PageId parent,
           std::span<const TokenId> tile,
           std::uint64_t hash,
           PageId page);
  void erase(PageId page);

  PageAllocator& pages_;
  std::int32_t page_size_;
  Hash hash_;
  std::vector<Entry> entries_;  ///< By page.
  std::unordered_multimap<std::uint64_t, PageId> by_hash_;
  std::uint64_t num_evictions_ = 0;
};

}  // namespace tessera

#include "coordinator/kv/prefix_cache.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace tessera {
namespace {

constexpr PrefixRule kRule{MaskKind::kBlockCausal, 4};
constexpr std::int32_t kPageSize = 4;

using Tokens = std::vector<TokenId>;

/// A holder that computed `tokens` (whole pages) and registered them, page by page.
std::vector<PageId> compute(PageAllocator& pages,
                            PrefixCache& cache,
                            const PrefixRule& rule,
                            const Tokens& tokens) {
  std::vector<PageId> held = cache.find(rule, tokens);
  for (const PageId page : held) pages.retain(page);
  for (auto begin = held.size() * kPageSize; begin < tokens.size(); begin += kPageSize) {
    cache.make_room(1);
    std::vector<PageId> fresh{pages.allocate()};
    cache.insert(rule, held, std::span(tokens).subspan(begin, kPageSize), fresh);
    held.push_back(fresh[0]);
  }
  return held;
}

void release(PageAllocator& pages, const std::vector<PageId>& held) {
  for (auto page = held.rbegin(); page != held.rend(); ++page) pages.release(*page);
}

TEST(PrefixCacheTest, FindsTheLongestKnownPrefixInWholePages) {
  PageAllocator pages(8);
  PrefixCache cache(pages, kPageSize);
  const Tokens tokens{1, 2, 3, 4, 5, 6, 7, 8};
  const auto held = compute(pages, cache, kRule, tokens);
  EXPECT_EQ(cache.find(kRule, tokens), held);
  EXPECT_EQ(cache.find(kRule, Tokens{1, 2, 3, 4, 5, 6, 7, 9}), std::vector{held[0]});
  EXPECT_EQ(cache.find(kRule, Tokens{1, 2, 3, 4, 5, 6, 7}), std::vector{held[0]});
  EXPECT_TRUE(cache.find(kRule, Tokens{5, 6, 7, 8}).empty()) << "same tokens, another prefix";
  release(pages, held);
  EXPECT_EQ(cache.find(kRule, tokens), held) << "released pages stay known";
}

// engine_spec 10.4, 40: pages behind a gap are no prefix, however many they are.
TEST(PrefixCacheTest, OnlyTheContiguousPrefixCounts) {
  PageAllocator pages(8);
  PrefixCache cache(pages, kPageSize);
  const Tokens tokens{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
  const auto held = compute(pages, cache, kRule, tokens);
  Tokens with_gap = tokens;
  with_gap[5] = 0;
  EXPECT_EQ(cache.find(kRule, with_gap), std::vector{held[0]}) << "two of its pages follow the gap";
  release(pages, held);
  cache.make_room(pages.num_free() + 1);
  EXPECT_EQ(cache.find(kRule, tokens), (std::vector{held[0], held[1], held[2]}))
      << "an eviction leaves no gap either";
}

TEST(PrefixCacheTest, EqualTokensUnderAnotherRuleAreOtherPages) {
  PageAllocator pages(8);
  PrefixCache cache(pages, kPageSize);
  const Tokens tokens{1, 2, 3, 4};
  release(pages, compute(pages, cache, kRule, tokens));
  EXPECT_TRUE(cache.find({MaskKind::kCausal, 4}, tokens).empty());
  EXPECT_TRUE(cache.find({MaskKind::kBlockCausal, 2}, tokens).empty());
}

TEST(PrefixCacheTest, TwoThatComputedTheSameShareOnePage) {
  PageAllocator pages(8);
  PrefixCache cache(pages, kPageSize);
  const Tokens tokens{1, 2, 3, 4};
  std::vector<PageId> first{pages.allocate()};
  std::vector<PageId> second{pages.allocate()};
  EXPECT_FALSE(cache.insert(kRule, {}, tokens, first));
  EXPECT_TRUE(cache.insert(kRule, {}, tokens, second));
  EXPECT_EQ(second, first);
  EXPECT_EQ(pages.num_references(first[0]), 2);
  EXPECT_EQ(pages.num_active(), 1);
  release(pages, first);
  release(pages, second);
}

TEST(PrefixCacheTest, ACollisionIsNeverAHit) {
  PageAllocator pages(8);
  PrefixCache cache(pages, kPageSize,
                    [](std::uint64_t, std::span<const TokenId>) { return std::uint64_t{42}; });
  release(pages, compute(pages, cache, kRule, {1, 2, 3, 4}));
  EXPECT_TRUE(cache.find(kRule, Tokens{4, 3, 2, 1}).empty());
  release(pages, compute(pages, cache, kRule, {4, 3, 2, 1}));
  EXPECT_NE(cache.find(kRule, Tokens{4, 3, 2, 1}), cache.find(kRule, Tokens{1, 2, 3, 4}));
}

TEST(PrefixCacheTest, AUnitLongerThanAPageIsSharedInWholeUnits) {
  PageAllocator pages(8);
  PrefixCache cache(pages, kPageSize);
  const PrefixRule rule{MaskKind::kBlockCausal, 8};
  EXPECT_EQ(cache.tile_len(rule), 8);
  const Tokens tokens{1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<PageId> tile{pages.allocate(), pages.allocate()};
  cache.insert(rule, {}, tokens, tile);
  EXPECT_EQ(cache.find(rule, tokens), tile);
  EXPECT_TRUE(cache.find(rule, Tokens{1, 2, 3, 4}).empty());
  EXPECT_TRUE(cache.find(rule, Tokens{1, 2, 3, 4, 5, 6, 7, 9}).empty())
      << "the first page depends on the tokens of the second";
  release(pages, tile);
}

// Random holders over few pages: what is found was computed from exactly these tokens, whatever was
// evicted meanwhile, with a good hash and with one that always collides.
TEST(PrefixCacheTest, RandomHoldersNeverSeeForeignPages) {
  const PrefixCache::Hash hashes[] = {
      &chain_hash, [](std::uint64_t, std::span<const TokenId>) { return std::uint64_t{7}; }};
  for (std::uint32_t seed = 0; seed < 60; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937 rng(seed);
    PageAllocator pages(12);
    PrefixCache cache(pages, kPageSize, hashes[seed % 2]);
    std::map<PageId, Tokens> content;  // what was computed into each page: the whole prefix
    std::vector<std::vector<PageId>> holders;
    for (int i = 0; i < 200; ++i) {
      if (!holders.empty() && (holders.size() == 3 || rng() % 2 == 0)) {
        release(pages, holders.back());
        holders.pop_back();
        continue;
      }
      Tokens tokens(kPageSize * (1 + rng() % 3));
      for (TokenId& token : tokens) token = static_cast<TokenId>(rng() % 2);
      const auto found = cache.find(kRule, tokens);
      for (std::size_t p = 0; p < found.size(); ++p) {
        const Tokens prefix(tokens.begin(),
                            tokens.begin() + static_cast<std::ptrdiff_t>((p + 1) * kPageSize));
        ASSERT_EQ(content.at(found[p]), prefix);
      }
      holders.push_back(compute(pages, cache, kRule, tokens));
      for (std::size_t p = 0; p < holders.back().size(); ++p) {
        content[holders.back()[p]] = Tokens(
            tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>((p + 1) * kPageSize));
      }
      cache.check_integrity();
      pages.check_integrity();
    }
    for (const auto& held : holders) release(pages, held);
  }
}

}  // namespace
}  // namespace tessera

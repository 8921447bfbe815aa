#include "coordinator/kv/page_allocator.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <set>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

TEST(PageAllocatorTest, EveryPageIsHandedOutOnce) {
  PageAllocator pages(5);
  std::set<PageId> seen;
  for (int i = 0; i < 5; ++i) seen.insert(pages.allocate());
  EXPECT_EQ(seen, (std::set<PageId>{0, 1, 2, 3, 4}));
  EXPECT_FALSE(pages.can_allocate(1));
  EXPECT_ERROR(pages.allocate(), kInternal);
  for (const PageId page : seen) pages.release(page);
  EXPECT_EQ(pages.num_free(), 5);
}

TEST(PageAllocatorTest, AKeptPageOutlivesItsLastReference) {
  PageAllocator pages(2);
  const PageId page = pages.allocate();
  pages.keep(page);
  pages.release(page);
  EXPECT_EQ(pages.num_cached(), 1);
  EXPECT_TRUE(pages.can_allocate(2));
  pages.retain(page);
  EXPECT_EQ(pages.num_cached(), 0);
  EXPECT_EQ(pages.num_references(page), 1);
  pages.release(page);
  EXPECT_EQ(pages.take_oldest_cached(), page);
  EXPECT_EQ(pages.num_free(), 2);
  EXPECT_EQ(pages.take_oldest_cached(), std::nullopt);
}

TEST(PageAllocatorTest, ReleasingAPageThatNobodyHoldsIsAnError) {
  PageAllocator pages(1);
  EXPECT_ERROR(pages.release(0), kInternal);
  const PageId page = pages.allocate();
  pages.release(page);
  EXPECT_ERROR(pages.release(page), kInternal);
  EXPECT_ERROR(pages.retain(page), kInternal);
}

// Random walks against a model that counts references; cached pages leave in the order in which
// they were released.
TEST(PageAllocatorTest, RandomWalksKeepPagesDisjointAndInOrder) {
  for (std::uint32_t seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(::testing::Message() << "seed " << seed);
    std::mt19937 rng(seed);
    PageAllocator pages(8);
    std::map<PageId, int> references;
    std::set<PageId> kept;
    std::vector<PageId> cached;
    for (int i = 0; i < 300; ++i) {
      const auto held = static_cast<std::size_t>(references.size());
      auto chosen = references.begin();
      if (held > 0) std::advance(chosen, rng() % held);
      switch (rng() % 5) {
        case 0:
          if (pages.num_free() == 0) break;
          ASSERT_TRUE(references.emplace(pages.allocate(), 1).second) << "handed out twice";
          break;
        case 1:
          if (held == 0) break;
          pages.retain(chosen->first);
          ++chosen->second;
          break;
        case 2:
          if (held == 0 || !kept.insert(chosen->first).second) break;
          pages.keep(chosen->first);
          break;
        case 3:
          if (held == 0) break;
          pages.release(chosen->first);
          if (--chosen->second > 0) break;
          if (kept.count(chosen->first) > 0) cached.push_back(chosen->first);
          references.erase(chosen);
          break;
        default:
          const auto taken = pages.take_oldest_cached();
          ASSERT_EQ(taken.has_value(), !cached.empty());
          if (!taken) break;
          ASSERT_EQ(*taken, cached.front());
          cached.erase(cached.begin());
          kept.erase(*taken);
      }
      pages.check_integrity();
      ASSERT_EQ(pages.num_active(), static_cast<std::int32_t>(references.size()));
      ASSERT_EQ(pages.num_cached(), static_cast<std::int32_t>(cached.size()));
      for (const auto& [page, count] : references) ASSERT_EQ(pages.num_references(page), count);
    }
    for (const auto& [page, count] : references) {
      for (int i = 0; i < count; ++i) pages.release(page);
    }
  }
}

}  // namespace
}  // namespace tessera

#include "kernels/cpu/attention/row_tiles.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <tuple>
#include <vector>

#include "kernels/visibility.h"

namespace tessera::kernels {
namespace {

struct SharedWork {
  std::int32_t num_kv_heads, num_spans, num_rows, cache_len;
  MaskKind mask;
};

constexpr SharedWork kSharedWork[] = {
    {8, 1, 32, 1000, MaskKind::kBlockCausal}, {1, 1, 32, 1000, MaskKind::kBlockCausal},
    {2, 64, 32, 500, MaskKind::kBlockCausal}, {1, 1, 512, 0, MaskKind::kCausal},
    {1, 1, 32, 1000, MaskKind::kFull},        {3, 7, 4, 300, MaskKind::kFull}};

class RowTilesTest : public ::testing::TestWithParam<SharedWork> {
 protected:
  RowTilesTest() : spans_(static_cast<std::size_t>(GetParam().num_spans)) {
    const SharedWork& work = GetParam();
    for (std::size_t i = 0; i < spans_.size(); ++i) {
      spans_[i].num_rows = work.num_rows;
      spans_[i].first = spans_[i].cache_len = work.cache_len * static_cast<std::int32_t>(i + 1);
      spans_[i].mask = work.mask;
    }
    args_.pages.num_kv_heads = work.num_kv_heads;
    args_.num_q_heads = 4 * work.num_kv_heads;
    args_.spans = spans_;
  }

  std::vector<AttentionSpan> spans_;
  AttentionArgs args_;
};

INSTANTIATE_TEST_SUITE_P(Work, RowTilesTest, ::testing::ValuesIn(kSharedWork));

TEST_P(RowTilesTest, PartsCoverEveryRowOfEveryHeadOnce) {
  for (const std::int32_t num_parts : {1, 2, 3, 7, 1000}) {
    std::map<std::tuple<const AttentionSpan*, std::int32_t, std::int32_t>, int> times;
    for (std::int32_t part = 0; part < num_parts; ++part) {
      RowTiles tiles(args_, part, num_parts);
      RowTile tile;
      while (tiles.next(tile)) {
        ASSERT_LE(tile.num_rows, max_tile_rows(4));
        for (std::int32_t i = 0; i < tile.num_rows; ++i) {
          ++times[{tile.span, tile.kv_head, tile.first_row + i}];
        }
      }
    }
    const SharedWork& work = GetParam();
    ASSERT_EQ(times.size(),
              static_cast<std::size_t>(work.num_kv_heads * work.num_spans * work.num_rows));
    for (const auto& [row, count] : times) ASSERT_EQ(count, 1) << num_parts << " parts";
  }
}

TEST_P(RowTilesTest, PartsHaveEqualShares) {
  for (const std::int32_t num_parts : {2, 3}) {
    std::vector<double> shares;  // keys times rows
    for (std::int32_t part = 0; part < num_parts; ++part) {
      RowTiles tiles(args_, part, num_parts);
      RowTile tile;
      double keys = 0.0;
      while (tiles.next(tile)) {
        for (std::int32_t i = 0; i < tile.num_rows; ++i) {
          const Visibility sees =
              visibility(*tile.span, tile.span->first + tile.first_row + i, args_.window);
          keys += std::max(0, sees.cached.size()) + std::max(0, sees.fresh.size());
        }
      }
      shares.push_back(keys);
    }
    const auto [low, high] = std::minmax_element(shares.begin(), shares.end());
    EXPECT_LE(*high, 1.15 * *low) << num_parts << " parts";
  }
}

}  // namespace
}  // namespace tessera::kernels

#include "worker/kv/kv_pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/backend_registry.h"

namespace tessera {
namespace {

TEST(KvPoolTest, EveryLayerHasItsOwnZeroPages) {
  const KvShape shape{.layers = {{2, 4}, {1, 8}, {3, 2}}, .dtype = DType::kBFloat16};
  EXPECT_EQ(shape.bytes_per_token(), 2 * (8 + 8 + 6) * 2);
  const auto backend = kernels::create_backend("reference", {});
  const KvPool pool(shape, /*num_pages=*/5, /*page_size=*/8, *backend);
  std::vector<const void*> memory;
  for (std::int32_t layer = 0; layer < 3; ++layer) {
    const LayerKvShape& expected = shape.layers[static_cast<std::size_t>(layer)];
    const kernels::KvPages& pages = pool.layer(layer);
    EXPECT_EQ(pages.num_pages, 5);
    EXPECT_EQ(pages.page_size, 8);
    EXPECT_EQ(pages.num_kv_heads, expected.num_kv_heads);
    EXPECT_EQ(pages.head_dim, expected.head_dim);
    for (const void* data : {pages.k, pages.v}) {
      EXPECT_THAT(memory, ::testing::Not(::testing::Contains(data)));
      memory.push_back(data);
      const auto* values = static_cast<const std::uint16_t*>(data);
      EXPECT_TRUE(
          std::all_of(values, values + 5 * 8 * expected.size(), [](auto x) { return x == 0; }));
    }
  }
}

}  // namespace
}  // namespace tessera

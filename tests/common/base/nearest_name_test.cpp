#include "common/base/nearest_name.h"

#include <gtest/gtest.h>

#include <array>
#include <string>

namespace tessera {
namespace {

constexpr std::array<std::string_view, 4> kNames = {"max_model_len", "max_step_rows", "page_size",
                                                    "port"};

TEST(NearestNameTest, FindsANameAfterAnySingleEdit) {
  for (const std::string_view name : kNames) {
    for (std::size_t i = 0; i < name.size(); ++i) {
      std::string removed(name);
      removed.erase(i, 1);
      std::string doubled(name);
      doubled.insert(i, 1, 'q');
      std::string replaced(name);
      replaced[i] = 'q';
      EXPECT_EQ(nearest_name(removed, kNames), name);
      EXPECT_EQ(nearest_name(doubled, kNames), name);
      EXPECT_EQ(nearest_name(replaced, kNames), name);
    }
  }
}

TEST(NearestNameTest, AnExactNameIsNearestToItself) {
  for (const std::string_view name : kNames) EXPECT_EQ(nearest_name(name, kNames), name);
}

TEST(NearestNameTest, TakesTheFirstOfEquals) {
  constexpr std::array<std::string_view, 2> kTies = {"ab", "ac"};
  EXPECT_EQ(nearest_name("ad", kTies), "ab");
}

TEST(NearestNameTest, IsEmptyWithoutCandidates) {
  EXPECT_EQ(nearest_name("x", {}), "");
}

}  // namespace
}  // namespace tessera

#include "worker/main/load_progress.h"

#include <gtest/gtest.h>

namespace tessera {
namespace {

TEST(LoadProgressTest, TheBarFillsFromNothingToAll) {
  EXPECT_EQ(progress_bar(0, 10 << 20), "[....................] 0 % of 10.0 MiB");
  EXPECT_EQ(progress_bar(5 << 20, 10 << 20), "[##########..........] 50 % of 10.0 MiB");
  EXPECT_EQ(progress_bar(10 << 20, 10 << 20), "[####################] 100 % of 10.0 MiB");
  EXPECT_EQ(progress_bar(11 << 20, 10 << 20), "[####################] 100 % of 10.0 MiB");
  EXPECT_EQ(progress_bar(0, 0), "[####################] 100 % of 0.0 MiB");
}

}  // namespace
}  // namespace tessera

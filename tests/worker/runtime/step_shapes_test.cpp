#include "worker/runtime/step_shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

using ::testing::ElementsAre;
using ::testing::Optional;

constexpr std::int64_t kNone = 0;

StepShape shape(std::int64_t rows, std::int64_t measured) {
  return {rows, measured};
}

TEST(StepShapesTest, AStepTakesTheSmallestShapeThatHoldsIt) {
  const StepShapes shapes(512);
  EXPECT_THAT(shapes.shape_of(1, 0), Optional(shape(16, 0)));
  EXPECT_THAT(shapes.shape_of(16, 1), Optional(shape(16, 16))) << "few rows are measured at once";
  EXPECT_THAT(shapes.shape_of(33, 33), Optional(shape(64, 64)));
  EXPECT_THAT(shapes.shape_of(200, 3), Optional(shape(256, 128)));
  EXPECT_THAT(shapes.shape_of(200, 193), Optional(shape(256, 256)));
  EXPECT_THAT(shapes.shape_of(385, 300), Optional(shape(512, 384)));
  EXPECT_THAT(shapes.shape_of(5, 40), Optional(shape(64, 64))) << "rows are measured repeatedly";
}

TEST(StepShapesTest, StepsOfNothingAndOfTooManyRowsHaveNone) {
  EXPECT_EQ(StepShapes(100).shape_of(0, kNone), std::nullopt);
  EXPECT_THAT(StepShapes(100).shape_of(100, 100), Optional(shape(100, 100)));
  const StepShapes large(1 << 14);
  EXPECT_THAT(large.shape_of(2048, 1), Optional(shape(2048, 128)));
  EXPECT_EQ(large.shape_of(2049, 1), std::nullopt);
  EXPECT_ERROR(StepShapes(0), kInvalidArgument);
}

TEST(StepShapesTest, TheShapesOfASmallServerAreFew) {
  EXPECT_THAT(StepShapes(40).all(), ElementsAre(shape(40, 40), shape(40, 0), shape(32, 32),
                                                shape(32, 0), shape(16, 16), shape(16, 0)));
  EXPECT_THAT(StepShapes(1).all(), ElementsAre(shape(1, 1), shape(1, 0)));
  EXPECT_EQ(StepShapes(512).all().size(), 26U);
}

TEST(StepShapesTest, EveryStepHasOneOfTheShapesAndWastesLittle) {
  for (const std::int64_t max_rows : {1, 7, 16, 100, 129, 500, 2048}) {
    const StepShapes shapes(max_rows);
    const auto all = shapes.all();
    for (std::int64_t rows = 1; rows <= max_rows; ++rows) {
      for (const std::int64_t measured : {kNone, std::int64_t{1}, rows / 2, rows}) {
        const auto got = shapes.shape_of(rows, measured);
        ASSERT_TRUE(got.has_value());
        ASSERT_TRUE(std::ranges::find(all, *got) != all.end()) << rows << " " << measured;
        ASSERT_GE(got->rows, rows);
        ASSERT_GE(got->measured, measured);
        ASSERT_LE(got->measured, got->rows);
        ASSERT_EQ(got->measured == 0, measured == 0);
        ASSERT_LE(got->rows, std::max<std::int64_t>(16, rows <= 128 ? 2 * rows : rows * 3 / 2));
      }
    }
  }
}

}  // namespace
}  // namespace tessera

#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "kernels/cuda/cuda_backend.h"
#include "tests/kernels/attention_scene.h"
#include "tests/kernels/cuda_cases.h"
#include "tests/support/error_matchers.h"

// Calls of attention that were planned together, against calls that plan for themselves.
namespace tessera::kernels {
namespace {

constexpr std::int32_t kPlanPageSize = 16;
constexpr std::int32_t kWindows[] = {0, 40};

class CudaPlansTest : public ::testing::TestWithParam<std::tuple<bool, int>> {
 protected:
  CudaPlansTest()
      : backend_(create_cuda(std::get<bool>(GetParam()), std::get<int>(GetParam()))),
        batch_(random_batch(/*head_dim=*/64, /*group=*/2, /*num_spans=*/6, /*seed=*/5)) {}

  AttentionScene scene() const {
    return AttentionScene(batch_.shape, kPlanPageSize, batch_.spans, /*seed=*/1);
  }

  void expect_planned_as_alone(bool has_room) {
    std::vector<AttentionScene> scenes;
    std::vector<AttentionArgs> kinds;
    for (int i = 0; i < 2; ++i) scenes.push_back(scene());
    for (std::size_t i = 0; i < 2; ++i) {
      kinds.push_back(scenes[i].args(batch_.scale, kWindows[i]));
    }
    const AttentionRoom room{kinds[0].out.rows, static_cast<std::int64_t>(batch_.spans.size()), 20};
    backend_->reserve_step_arrays(backend_->reserve_attention_plans(kinds, room));
    backend_->begin_step_arrays();
    backend_->plan_attention(kinds, has_room ? &room : nullptr);
    backend_->send_step_arrays();
    for (std::size_t i = 0; i < 2; ++i) {
      kinds[i].plan = static_cast<std::int32_t>(i);
      backend_->block_attention(kinds[i]);
      AttentionScene alone = scene();
      backend_->block_attention(alone.args(batch_.scale, kWindows[i]));
      EXPECT_TRUE(scenes[i].bait_untouched());
      for (std::size_t span = 0; span < batch_.spans.size(); ++span) {
        for (std::int32_t row = 0; row < batch_.spans[span].rows.num_rows; ++row) {
          ASSERT_TRUE(std::ranges::equal(scenes[i].out(span, row), alone.out(span, row)))
              << "window " << kWindows[i] << " span " << span << " row " << row;
        }
      }
    }
    kinds[0].plan = 2;
    EXPECT_ERROR(backend_->block_attention(kinds[0]), kInvalidArgument);
  }

  std::unique_ptr<Backend> backend_;
  SceneBatch batch_;
};

INSTANTIATE_TEST_SUITE_P(Modes,
                         CudaPlansTest,
                         ::testing::Combine(::testing::Bool(),
                                            ::testing::ValuesIn(compute_capabilities())));

TEST_P(CudaPlansTest, KindsOfLayersSharePagesAndRows) {
  expect_planned_as_alone(/*has_room=*/false);
  // In deterministic mode there are no graphs to make room for.
  if (!std::get<bool>(GetParam())) expect_planned_as_alone(/*has_room=*/true);
}

}  // namespace
}  // namespace tessera::kernels

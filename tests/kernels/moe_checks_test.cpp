#include <gtest/gtest.h>

#include <array>

#include "kernels/moe.h"
#include "tests/support/error_matchers.h"

namespace tessera::kernels {
namespace {

TEST(MoeChecksTest, ExpertsAreThoseOfTheLayer) {
  ExpertWeights weights;
  weights.num_experts = 3;
  std::array<std::int32_t, 2> experts = {0, 2};
  const MoeArgs args{.x = {},
                     .weights = &weights,
                     .activation = Activation::kSilu,
                     .experts_per_token = 2,
                     .experts = experts,
                     .expert_weights = {},
                     .workspace = {},
                     .out = {}};
  check_expert_ids(args);
  experts[1] = 3;
  EXPECT_ERROR(check_expert_ids(args), kInvalidArgument);
  experts[1] = -1;
  EXPECT_ERROR(check_expert_ids(args), kInvalidArgument);
}

}  // namespace
}  // namespace tessera::kernels

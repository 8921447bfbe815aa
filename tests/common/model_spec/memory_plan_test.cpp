#include "common/model_spec/memory_plan.h"

#include <gtest/gtest.h>

#include "tests/support/error_matchers.h"

namespace tessera {
namespace {

// SDAR-8B: 8 190 735 360 parameters as published.
ModelSpec sdar_8b() {
  ModelSpec spec;
  spec.hidden_size = 4096;
  spec.num_layers = 36;
  spec.num_q_heads = 32;
  spec.num_kv_heads = 8;
  spec.head_dim = 128;
  spec.intermediate_size = 12288;
  spec.vocab_size = 151936;
  spec.qk_norm = true;
  return spec;
}

TEST(MemoryPlanTest, CountsEveryParameterOfAPublishedModel) {
  const MemoryPlan plan = plan_memory(sdar_8b(), {});
  EXPECT_EQ(plan.weights, std::int64_t{2} * 8'190'735'360);
  EXPECT_EQ(plan.kv_per_token, 36 * 2 * 1024 * 2);
  EXPECT_EQ(plan.kv_copies, 1);
}

TEST(MemoryPlanTest, ReplicatedHeadsAreCounted) {
  ModelSpec spec = sdar_8b();
  spec.num_kv_heads = 2;
  MemoryPlanInput input;
  input.tp = 8;
  const MemoryPlan plan = plan_memory(spec, input);
  EXPECT_EQ(plan.kv_copies, 4);
  EXPECT_EQ(plan.kv_per_token, 36 * 2 * 128 * 2) << "one head on every rank";
}

TEST(MemoryPlanTest, WorkspaceGrowsWithRowsAndKeptLogits) {
  MemoryPlanInput input;
  EXPECT_EQ(plan_memory(sdar_8b(), input).workspace, 0);
  input.max_step_rows = 512;
  const std::int64_t rows_only = plan_memory(sdar_8b(), input).workspace;
  input.max_logit_rows = 64;
  EXPECT_EQ(plan_memory(sdar_8b(), input).workspace, rows_only + std::int64_t{64} * 151936 * 4);
}

TEST(MemoryPlanTest, WholeExpertsTakeAsMuchAsPartsOfAll) {
  ModelSpec spec = sdar_8b();
  spec.moe.layers.assign(36, true);
  spec.moe.num_experts = 128;
  spec.moe.experts_per_token = 8;
  spec.moe.intermediate_size = 768;
  MemoryPlanInput input;
  input.tp = 4;
  const std::int64_t by_width = plan_memory(spec, input).weights;
  input.experts = ExpertSharding::kByExpert;
  EXPECT_EQ(plan_memory(spec, input).weights, by_width);
  spec.moe.num_experts = 126;
  EXPECT_ERROR(plan_memory(spec, input), kInvalidArgument);
}

}  // namespace
}  // namespace tessera
